import json

import pytest

from monitor.requests.otel.calls import model_calls

AT = 1_772_040_000_000_000_000
QUESTION = "Which river is the longest in Chile?"


def any_value(value):
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
        case list():
            return {"arrayValue": {"values": [any_value(each) for each in value]}}
        case dict():
            return {"kvlistValue": {"values": key_values(value)}}


def key_values(attributes):
    return [{"key": key, "value": any_value(value)} for key, value in attributes.items()]


def span(attributes, name="chat m", id="a1", parent="", start=0, end=2, **fields):
    return {
        "traceId": "0f" * 16,
        "spanId": id,
        "parentSpanId": parent,
        "name": name,
        "kind": 3,
        "startTimeUnixNano": str(AT + start * 10**9),
        "endTimeUnixNano": str(AT + end * 10**9),
        "attributes": key_values(attributes),
        **fields,
    }


def event(name, attributes):
    return {"name": name, "timeUnixNano": str(AT), "attributes": key_values(attributes)}


def log(name, attributes, body=None, id="a1", **fields):
    return {
        "traceId": "0f" * 16,
        "spanId": id,
        "timeUnixNano": str(AT),
        "eventName": name,
        "attributes": key_values(attributes),
        "body": None if body is None else any_value(body),
        **fields,
    }


def export(*spans, logs=(), resource=None):
    holder = {"attributes": key_values(resource or {"service.name": "gateway"})}
    found = {}
    if spans:
        found["resourceSpans"] = [{"resource": holder, "scopeSpans": [{"spans": list(spans)}]}]
    if logs:
        found["resourceLogs"] = [{"resource": holder, "scopeLogs": [{"logRecords": list(logs)}]}]
    return found


def calls(*spans, **fields):
    return model_calls(export(*spans, **fields)).calls


def the_call(*spans, **fields):
    (call,) = calls(*spans, **fields)
    return call


def spoken(call):
    """Role and text of each message of a call."""
    return [
        (message["role"], "".join(part["text"] for part in message["content"]))
        for message in call.get("messages", [])
    ]


ASKED = [("system", "Be brief."), ("user", QUESTION)]
MESSAGES = [{"role": role, "content": text} for role, text in ASKED]
PARTS = [{"role": role, "parts": [{"type": "text", "content": text}]} for role, text in ASKED]
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}


# Where the prompt stands


@pytest.mark.parametrize(
    "attributes",
    [
        CHAT | {"gen_ai.input.messages": PARTS},
        CHAT | {"gen_ai.input.messages": json.dumps(PARTS)},
        CHAT
        | {
            "gen_ai.system_instructions": [{"type": "text", "content": "Be brief."}],
            "gen_ai.input.messages": json.dumps(PARTS[1:]),
        },
        {
            "llm.request.type": "chat",
            "gen_ai.prompt.0.role": "system",
            "gen_ai.prompt.0.content": "Be brief.",
            "gen_ai.prompt.1.role": "user",
            "gen_ai.prompt.1.content": QUESTION,
        },
        {
            "llm.request.type": "chat",
            "gen_ai.prompt.1.role": "user",
            "gen_ai.prompt.1.content": json.dumps([{"type": "text", "text": QUESTION}]),
            "gen_ai.prompt.0.role": "system",
            "gen_ai.prompt.0.content": "Be brief.",
        },
        {
            "openinference.span.kind": "LLM",
            "llm.input_messages.0.message.role": "system",
            "llm.input_messages.0.message.content": "Be brief.",
            "llm.input_messages.1.message.role": "user",
            "llm.input_messages.1.message.contents.0.message_content.type": "text",
            "llm.input_messages.1.message.contents.0.message_content.text": QUESTION,
            "input.value": json.dumps({"model": "m", "messages": MESSAGES}),
        },
        {"openinference.span.kind": "LLM", "input.value": json.dumps({"messages": MESSAGES})},
        CHAT | {"gen_ai.prompt": json.dumps(MESSAGES)},
        CHAT | {"gen_ai.prompt": json.dumps({"system": "Be brief.", "prompt": QUESTION})},
        CHAT | {"gen_ai.prompt": json.dumps({"messages": MESSAGES})},
        {
            "ai.operationId": "ai.streamText.doStream",
            "ai.prompt.messages": json.dumps(
                [MESSAGES[0], {"role": "user", "content": [{"type": "text", "text": QUESTION}]}]
            ),
        },
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.input": json.dumps(MESSAGES),
        },
        {
            "llm.request.type": "chat",
            "traceloop.entity.input": json.dumps({"inputs": {"messages": [MESSAGES]}, "tags": []}),
        },
        {"gen_ai.request.model": "m", "request_data": json.dumps({"messages": MESSAGES})},
        CHAT
        | {
            "events": json.dumps(
                [
                    {"event.name": f"gen_ai.{role}.message", "role": role, "content": text}
                    for role, text in ASKED
                ]
                + [
                    {
                        "event.name": "gen_ai.choice",
                        "message": {"role": "assistant", "content": "A"},
                    }
                ]
            )
        },
        {
            "gen_ai.request.model": "m",
            "traceloop.entity.input": json.dumps(
                {
                    "kwargs": {
                        "messages": [
                            {
                                "lc": 1,
                                "id": ["langchain", name],
                                "kwargs": {"content": text, "type": kind},
                            }
                            for name, kind, text in [
                                ("SystemMessage", "system", "Be brief."),
                                ("HumanMessage", "user", QUESTION),
                            ]
                        ]
                    }
                }
            ),
        },
        {name.upper(): value for name, value in CHAT.items()}
        | {"GEN_AI.PROMPT.0.ROLE": "system", "GEN_AI.PROMPT.0.CONTENT": "Be brief."}
        | {"Gen_AI.Prompt.1.Role": "user", "Gen_AI.Prompt.1.Content": QUESTION},
        {"gen_ai": {"request": {"model": "m"}, "input": {"messages": PARTS}}},
    ],
)
def test_prompt_is_read_from_attributes(attributes):
    assert spoken(the_call(span(attributes))) == ASKED


@pytest.mark.parametrize(
    "events",
    [
        [event("gen_ai.content.prompt", {"gen_ai.prompt": json.dumps(MESSAGES)})],
        [
            event(f"gen_ai.{role}.message", {"gen_ai.event.content": json.dumps({"content": text})})
            for role, text in ASKED
        ],
        [event(f"gen_ai.{role}.message", {"content": text}) for role, text in ASKED],
        [
            event(f"gen_ai.{role}.message", {"content": json.dumps([{"text": text}]), "role": role})
            for role, text in ASKED
        ],
        [event("gen_ai.client.inference.operation.details", {"gen_ai.input.messages": PARTS})],
    ],
)
def test_prompt_is_read_from_span_events(events):
    answer = event("gen_ai.choice", {"content": "Loa"})
    assert spoken(the_call(span(CHAT, events=[*events, answer]))) == ASKED


@pytest.mark.parametrize(
    "bodies",
    [
        [{"content": text} for _, text in ASKED],
        [{"role": role, "content": text} for role, text in ASKED],
        [json.dumps({"role": role, "content": text}) for role, text in ASKED],
        [{"role": role, "content": [{"text": text}]} for role, text in ASKED],
        [text for _, text in ASKED],
    ],
)
def test_prompt_is_read_from_log_events(bodies):
    names = ["gen_ai.system.message", "gen_ai.user.message"]
    records = [
        log(name, {"api_key.id": "k"}, body) for name, body in zip(names, bodies, strict=True)
    ]
    call = the_call(logs=[*records, log("gen_ai.choice", {}, {"message": {"content": "Loa"}})])
    assert spoken(call) == ASKED
    assert call["attributes"]["api_key.id"] == "k"


@pytest.mark.parametrize(
    ("attributes", "body"),
    [
        ({"gen_ai.input.messages": PARTS}, ""),
        ({}, {"gen_ai.input.messages": PARTS}),
        ({}, json.dumps({"gen_ai.input.messages": PARTS})),
        ({}, {"input": {"messages": MESSAGES}, "output": {"messages": [{"content": "Loa"}]}}),
    ],
)
def test_prompt_is_read_from_operation_details(attributes, body):
    record = log("gen_ai.client.inference.operation.details", CHAT | attributes, body)
    assert spoken(the_call(logs=[record])) == ASKED


def test_event_name_may_be_an_attribute():
    record = log(
        "",
        {"event_name": "gen_ai.content.prompt", "gen_ai.prompt": QUESTION},
        {"role": "user", "content": QUESTION},
    )
    assert spoken(the_call(logs=[record])) == [("user", QUESTION)]


@pytest.mark.parametrize("limit", [90, 110, 140])
def test_cut_json_gives_the_text_before_the_cut(limit):
    cut = json.dumps([{"role": "user", "parts": [{"type": "text", "content": QUESTION * 9}]}])
    (message,) = spoken(the_call(span(CHAT | {"gen_ai.input.messages": cut[:limit]})))
    assert message[0] == "user"
    assert (QUESTION * 9).startswith(message[1])
    assert len(message[1]) > limit - 60


def test_all_places_are_read():
    attributes = CHAT | {
        "gen_ai.prompt.0.content": "Only a greeting, nothing else.",
        "gen_ai.input.messages": json.dumps(PARTS),
        "input.value": "And one more thing that differs.",
    }
    assert [text for _, text in spoken(the_call(span(attributes)))] == [
        *(text for _, text in ASKED),
        "Only a greeting, nothing else.",
        "And one more thing that differs.",
    ]


def test_text_that_looks_like_json_is_text():
    for text in ("[not JSON", "{curly}", '{"a": 1}', "[1, 2, 3]", "[]"):
        call = the_call(
            span(CHAT | {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": text})
        )
        assert spoken(call) == [("user", text)]
        assert spoken(the_call(span(CHAT | {"gen_ai.prompt": text}))) == [("user", text)]


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
