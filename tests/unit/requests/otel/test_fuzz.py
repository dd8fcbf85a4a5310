import json

from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.requests.otel.calls import model_calls
from monitor.requests.otel.records import LEVELS

unhurried = settings(deadline=None)

names = st.sampled_from(
    [
        *(
            "gen_ai.operation.name",
            "gen_ai.request.model",
            "gen_ai.input.messages",
            "gen_ai.prompt",
        ),
        *("gen_ai.prompt.0.role", "gen_ai.prompt.0.content", "gen_ai.prompt.999999.content"),
        *("llm.input_messages.0.message.contents.0.message_content.text", "input.value"),
        *(
            "openinference.span.kind",
            "ai.operationId",
            "gen_ai.response.id",
            "event.name",
            "events",
        ),
        *("gen_ai.system_instructions", "gen_ai.event.content", "traceloop.entity.input", "role"),
    ]
)
words = st.sampled_from(
    [
        *("chat", "invoke_agent", "LLM", "CHAIN", "ai.generateText", "ai.generateText.doGenerate"),
        *("user", "system", "gen_ai.user.message", "gen_ai.choice", "r1", "Hello there, model."),
        *(
            '[{"role": "user", "content": "Hel',
            '{"messages": [{"parts": [{"text": "a"}]}]}',
            "[",
            "{",
        ),
    ]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | words,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "parts", "text", "type", "messages", "kwargs", "id"]
            )
            | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
any_values = st.recursive(
    st.builds(lambda text: {"stringValue": text}, words) | json_values,
    lambda inner: (
        st.builds(lambda each: {"arrayValue": {"values": each}}, st.lists(inner, max_size=3))
        | st.builds(
            lambda key, value: {"kvlistValue": {"values": [{"key": key, "value": value}]}},
            st.sampled_from(["role", "content", "parts"]),
            inner,
        )
    ),
    max_leaves=6,
)
attributes = (
    st.lists(st.fixed_dictionaries({"key": names, "value": any_values}), max_size=5)
    | st.dictionaries(names, json_values, max_size=5)
    | json_values
)
ids = st.sampled_from(["", "a1", "a2", "a3"]) | json_values
events = st.fixed_dictionaries({}, optional={"name": words, "attributes": attributes}) | json_values
spans = st.fixed_dictionaries(
    {"spanId": ids},
    optional={
        "parentSpanId": ids,
        "traceId": ids,
        "kind": st.integers(0, 5) | json_values,
        "name": words | json_values,
        "startTimeUnixNano": st.integers() | json_values,
        "endTimeUnixNano": st.integers().map(str) | json_values,
        "attributes": attributes,
        "events": st.lists(events, max_size=3) | json_values,
    },
)
logs = st.fixed_dictionaries(
    {"attributes": attributes},
    optional={
        "spanId": ids,
        "eventName": words | json_values,
        "body": any_values,
        "timeUnixNano": json_values,
    },
)


def export(span_records, log_records):
    return {
        "resourceSpans": [{"scopeSpans": [{"spans": span_records}]}],
        "resourceLogs": [{"scopeLogs": [{"logRecords": log_records}]}],
    }


@unhurried
@given(st.lists(spans, max_size=6), st.lists(logs, max_size=6), st.sampled_from(["", "enduser.id"]))
def test_every_record_is_a_call_or_counted(span_records, log_records, inherited):
    found = model_calls(export(span_records, log_records), inherited=[inherited])
    count = len(span_records) + len(log_records)
    assert len(found.calls) + sum(found.ignored.values()) == count
    assert all(isinstance(call["attributes"], dict) for call in found.calls)


@unhurried
@given(json_values, st.sampled_from([level for levels in LEVELS for level in levels]))
def test_any_document_gives_objects(value, name):
    for document in ({name: value}, {"resourceSpans": [{name: value}]}, {"attributes": value}):
        found = model_calls(document)
        assert all(isinstance(call, dict) for call in found.calls)
        json.dumps(found.calls)
