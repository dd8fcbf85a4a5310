import pytest

from monitor.requests.otel.calls import model_calls
from tests.support.otel import AT, CHAT, PARTS, QUESTION, calls, export, log, span, spoken, the_call

# Which records are calls


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "m"},
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "t"},
        {"gen_ai.tool.name": "t", "gen_ai.system": "x"},
        {"gen_ai.agent.name": "planner"},
        {"openinference.span.kind": "CHAIN", "input.value": QUESTION},
        {"traceloop.span.kind": "workflow", "traceloop.entity.input": QUESTION},
        {"ai.operationId": "ai.generateText", "ai.prompt": QUESTION, "gen_ai.request.model": "m"},
        {"operation.name": "ai.toolCall search", "ai.toolCall.name": "search"},
        {"langfuse.observation.type": "agent", "langfuse.observation.input": QUESTION},
        CHAT | {"logfire.span_type": "pending_span"},
        {"http.request.method": "POST", "url.full": "https://api.example"},
        {"db.system": "postgresql"},
    ],
)
def test_other_operations_are_counted_but_not_calls(attributes):
    found = model_calls(export(span(attributes, name="x")))
    assert found.calls == []
    assert found.ignored == {"other_operation": 1}


@pytest.mark.parametrize(
    "attributes",
    [
        CHAT,
        {"gen_ai.operation.name": "embeddings"},
        {"gen_ai.system": "openai"},
        {"llm.request.type": "completion"},
        {"openinference.span.kind": "EMBEDDING", "embedding.model_name": "e"},
        {"llm.model_name": "m"},
        {"ai.operationId": "ai.embed.doEmbed", "ai.model.id": "m"},
        {"langfuse.observation.type": "span", "langfuse.observation.model.name": "m"},
    ],
)
def test_model_call_without_a_prompt_is_a_call(attributes):
    assert "messages" not in the_call(span(attributes, name="x"))


def test_field_that_the_operator_maps_marks_a_call():
    document = export(
        span({"acme.question": QUESTION}, name="x"), span({"db.system": "redis"}, id="a2")
    )
    found = model_calls(document, lambda record: "acme.question" in record["attributes"])
    assert [call["spanId"] for call in found.calls] == ["a1"]


@pytest.mark.parametrize(
    "document",
    [{"resourceSpans": []}, {"resourceSpans": 7}, {"resourceLogs": [{"scopeLogs": None}]}],
)
def test_export_without_records_holds_nothing(document):
    assert model_calls(document) == ([], {})


def test_object_without_attributes_is_one_record():
    assert model_calls({"api_key": "k"}).calls == [{"api_key": "k"}]


# One call, several records


DETAILS = log(
    "gen_ai.client.inference.operation.details",
    CHAT | {"gen_ai.input.messages": PARTS, "gen_ai.response.id": "r1"},
)
USER = log("gen_ai.user.message", {}, {"content": QUESTION})


@pytest.mark.parametrize("record", [DETAILS, DETAILS | {"spanId": ""}, USER])
@pytest.mark.parametrize("logs_first", [True, False])
def test_span_and_log_of_one_call_are_one_request(record, logs_first):
    document = export(span(CHAT | {"gen_ai.response.id": "r1"}), logs=[record])
    if logs_first:
        document = dict(reversed(document.items()))
    (call,) = model_calls(document).calls
    assert call["record"] == "span"
    assert (call["spanId"], call["durationNano"]) == ("a1", 2 * 10**9)
    assert spoken(call)[-1] == ("user", QUESTION)


def test_spans_with_the_same_ids_stay_apart():
    same = CHAT | {"gen_ai.response.id": "r1"}
    assert len(calls(span(same, start=1), span(same, start=4))) == 2


def test_log_records_of_two_calls_stay_apart():
    later = DETAILS | {"timeUnixNano": str(AT + 10**9)}
    assert len(calls(span(CHAT), logs=[DETAILS, later])) == 2


def test_answer_ends_a_call_of_message_events():
    answer = log("gen_ai.choice", {}, {"message": {"content": "Loa"}}, id="")
    user = USER | {"spanId": ""}
    found = model_calls(export(logs=[user, answer, user, answer]))
    assert [spoken(call) for call in found.calls] == [[("user", QUESTION)]] * 2
    assert found.ignored == {"answer": 2}


def test_message_events_of_two_keys_stay_apart():
    events = [
        log("gen_ai.user.message", {"api_key.id": key}, {"content": QUESTION}, id="")
        for key in "ab"
    ]
    found = model_calls(export(logs=events), inherited=["api_key.id"])
    assert [call["attributes"]["api_key.id"] for call in found.calls] == ["a", "b"]


def test_message_events_of_an_agent_are_no_call():
    agent = span({"gen_ai.operation.name": "invoke_agent"})
    found = model_calls(export(agent, logs=[USER]))
    assert (found.calls, found.ignored) == ([], {"other_operation": 2})


def test_message_events_make_the_span_of_the_gateway_a_call():
    call = the_call(span({"http.route": "/v1/chat", "api_key.id": "k"}, name="POST"), logs=[USER])
    assert (call["record"], call["attributes"]["api_key.id"]) == ("span", "k")
    assert spoken(call) == [("user", QUESTION)]


def test_nested_calls_of_one_text_count_once():
    outer = span(CHAT | {"gen_ai.prompt": QUESTION, "gen_ai.usage.input_tokens": 9}, id="b1")
    chain = span({"openinference.span.kind": "CHAIN"}, id="b2", parent="b1")
    inner = span(CHAT | {"gen_ai.input.messages": PARTS}, id="b3", parent="b2")
    found = model_calls(export(outer, chain, inner))
    (call,) = found.calls
    assert (call["spanId"], call["attributes"]["gen_ai.usage.input_tokens"]) == ("b3", "9")
    assert found.ignored == {"other_operation": 1, "outer_call": 1}


def test_call_without_text_gets_that_of_the_call_around_it():
    outer = span(CHAT | {"gen_ai.prompt": QUESTION}, id="b1")
    assert spoken(the_call(span(CHAT, parent="b1"), outer)) == [("user", QUESTION)]


def test_nested_calls_of_different_texts_both_count():
    outer = span(CHAT | {"gen_ai.prompt": "Something else altogether."}, id="b1")
    assert len(calls(outer, span(CHAT | {"gen_ai.prompt": QUESTION}, parent="b1"))) == 2


def test_parent_named_by_a_client_is_not_followed():
    victim = span(CHAT | {"gen_ai.prompt": QUESTION, "api_key.id": "victim"}, id="b1")
    served = span(CHAT | {"gen_ai.prompt": QUESTION}, id="b2", parent="b1", kind=2)
    found = model_calls(export(victim, served), inherited=["api_key.id"])
    assert len(found.calls) == 2
    assert "api_key.id" not in found.calls[1]["attributes"]


def test_call_takes_its_identity_from_the_spans_around_it():
    server = span({"api_key.id": "k", "http.route": "/"}, id="b1", kind=2)
    found = model_calls(export(server, span(CHAT, parent="b1")), inherited=["api_key.id"])
    assert [call["attributes"]["api_key.id"] for call in found.calls] == ["k"]
    assert "http.route" not in found.calls[0]["attributes"]


def test_attributes_of_scope_and_resource_stand_behind_those_of_the_span():
    resource = {"api_key.id": "resource", "client.address": "192.0.2.1"}
    call = the_call(span(CHAT | {"api_key.id": "span"}), resource=resource)
    assert call["attributes"]["api_key.id"] == "span"
    assert call["attributes"]["client.address"] == "192.0.2.1"


# Other ways to write a span


@pytest.mark.parametrize(
    "document",
    [
        {
            "name": "chat m",
            "context": {"trace_id": "0x0f", "span_id": "0xa1"},
            "kind": "SpanKind.CLIENT",
            "start_time": "2026-02-25T17:20:00Z",
            "end_time": "2026-02-25T17:20:02Z",
            "attributes": CHAT,
            "events": [
                {"name": "gen_ai.content.prompt", "attributes": {"gen_ai.prompt": QUESTION}}
            ],
        },
        {
            "traceId": "0f",
            "id": "a1",
            "timestamp": AT // 1_000,
            "duration": 2_000_000,
            "tags": {"llm.request.type": "chat", "gen_ai.prompt.0.content": QUESTION},
        },
        {
            "traceID": "0f",
            "spanID": "a1",
            "operationName": "chat m",
            "startTime": AT // 1_000,
            "duration": 2_000_000,
            "tags": [
                {"key": "gen_ai.operation.name", "type": "string", "value": "chat"},
                {"key": "gen_ai.prompt.0.content", "type": "string", "value": QUESTION},
            ],
        },
        {
            "Timestamp": "2026-02-25T17:20:00Z",
            "TraceId": "0f",
            "SpanId": "a1",
            "SpanName": "chat m",
            "Duration": 2_000_000_000,
            "SpanAttributes": CHAT,
            "Events.Name": ["gen_ai.user.message"],
            "Events.Attributes": [{"content": QUESTION}],
        },
    ],
)
def test_single_span_of_other_exporters(document):
    (call,) = model_calls(document).calls
    assert spoken(call) == [("user", QUESTION)]
    assert (call["spanId"], call["endTimeUnixNano"]) == ("a1", AT + 2 * 10**9)
    assert call["durationNano"] == 2 * 10**9
