import json

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from monitor.requests.decoder import Decoder

NOW = 1_772_040_010.0
AT = 1_772_040_000_000_000_000
QUESTION = "Which river is the longest in Chile?"
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "api_key.id": "k"}
ASKED = CHAT | {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": QUESTION}


def span(attributes, **fields):
    return {
        "spanId": "a1",
        "name": "x",
        "startTimeUnixNano": str(AT),
        "endTimeUnixNano": str(AT + 3 * 10**9),
        "attributes": attributes,
        **fields,
    }


def export(*spans):
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}


def decode(*documents, mapping="otel-genai"):
    values = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in documents]
    return Decoder(mapping).decode(values, NOW)


def read(*documents, **fields):
    decoded = decode(*documents, **fields)
    assert decoded.rejections == []
    (event,) = decoded.events
    return event


def protobuf(*spans):
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for attributes in spans:
        each = scope.spans.add(span_id=b"\xa1", end_time_unix_nano=AT, name="x")
        for name, value in attributes.items():
            each.attributes.add(key=name).value.string_value = value
    return request.SerializeToString()


def test_time_is_the_end_of_the_call():
    event = read(export(span(ASKED)))
    assert (event.ts, event.latency_ms) == (1_772_040_003.0, 3_000)


@pytest.mark.parametrize("name", ["gen_ai.response.id", "ai.response.id"])
def test_records_of_one_call_may_join_by_either_id(name):
    event = read(span(ASKED | {name: "r1"}))
    assert (event.id, event.joins) == ("a1", "r1")
    event = read(span(ASKED | {name: "r1"}, spanId=""))
    assert (event.id, event.joins) == ("r1", "")
    event = read(span(ASKED))
    assert (event.id, event.joins) == ("a1", "")


def test_user_that_is_the_key_is_no_end_user():
    event = read(span({"gen_ai.system": "x", "user.id": "u"}))
    assert (event.api_key, event.end_user) == ("u", None)


def test_protobuf_is_read_as_the_same_export_in_json():
    spans = [ASKED, CHAT | {"gen_ai.prompt": "Say hello."}]
    same = export(*({"spanId": "a1", "endTimeUnixNano": AT, "attributes": each} for each in spans))
    assert decode(protobuf(*spans)).events == decode(same).events


def test_neighbours_of_a_protobuf_span_without_a_key_are_read():
    value = protobuf({"gen_ai.system": "x"}, ASKED, {"db.system": "redis"})
    decoded = decode(value)
    assert [event.prompt for event in decoded.events] == [QUESTION]
    assert [refused.reason for refused in decoded.rejections] == ["missing_field"]
    assert decoded.ignored == {"other_operation": 1}
    (resent,) = [each for each in Decoder("otel-genai").split(value) if b"Chile" in each]
    assert read(msgspec.json.decode(resent)).prompt == QUESTION


@pytest.mark.parametrize("value", [b"\x0b\x2b\x0b\x1bgateway", protobuf(ASKED)[:-5]])
def test_other_binary_values_are_refused_with_the_remedy(value):
    (refused,) = decode(value).rejections
    assert refused.reason == "undecodable"
    assert "otlp_proto" in refused.detail


def test_json_after_a_blank_line_is_json():
    assert read(b"\n" + json.dumps(export(span(ASKED))).encode()).prompt == QUESTION


def test_export_without_calls_is_counted_and_not_rejected():
    decoded = decode(
        export(span({"db.system": "redis"})), {"resourceLogs": []}, export(span(ASKED))
    )
    assert (decoded.sources, decoded.rejections) == ([2], [])
    assert decoded.ignored == {"other_operation": 1}


def test_call_without_a_key_is_rejected():
    (refused,) = decode(export(span({"gen_ai.system": "x"}))).rejections
    assert refused.reason == "missing_field"
    assert "api_key" in refused.detail


def test_field_that_the_operator_maps_marks_a_call():
    mapping = {"preset": "otel-genai", "prompt": "/attributes/acme.question"}
    acme = span({"acme.question": QUESTION, "api_key.id": "k"})
    assert decode(export(acme)).events == []
    assert read(export(acme, span({"db.system": "redis"})), mapping=mapping).prompt == QUESTION


def test_key_that_the_operator_maps_marks_no_call():
    mapping = {"preset": "otel-genai", "api_key": "/attributes/acme.key"}
    assert decode(export(span({"acme.key": "k"})), mapping=mapping).events == []


def test_key_that_the_operator_maps_is_found_around_the_call():
    mapping = {"preset": "otel-genai", "api_key": "/attributes/acme.key"}
    server = span({"acme.key": "k2"}, spanId="b1", kind=2)
    call = span({"gen_ai.request.model": "m"}, parentSpanId="b1")
    assert read(export(server, call), mapping=mapping).api_key == "k2"


@pytest.mark.parametrize(
    ("attributes", "field", "value"),
    [
        ({"llm.token_count.prompt": 14}, "input_tokens", 14),
        ({"ai.usage.promptTokens": 14}, "input_tokens", 14),
        ({"llm.usage.completion_tokens": 3}, "output_tokens", 3),
        ({"langfuse.observation.usage_details": '{"input": 14}'}, "input_tokens", 14),
        ({"llm.token_count.prompt_details.cache_read": 9}, "cached_tokens", 9),
        ({"llm.invocation_parameters": '{"max_tokens": 64}'}, "max_tokens", 64),
        ({"llm.invocation_parameters": '{"temperature": 0.5}'}, "temperature", 0.5),
        ({"ai.settings.maxOutputTokens": 64}, "max_tokens", 64),
        ({"gen_ai.tool.definitions": '[{"name": "a"}, {"name": "b"}]'}, "tools", 2),
        ({"llm.request.functions.0.name": "a", "llm.request.functions.1.name": "b"}, "tools", 2),
        ({"llm.tools.0.tool.json_schema": "{}"}, "tools", 1),
        ({"metadata.user_api_key_end_user_id": "u-7"}, "end_user", "u-7"),
        ({"http.client_ip": "192.0.2.9"}, "ip", "192.0.2.9"),
        ({"error.type": "429"}, "status", 429),
        ({"GEN_AI.USAGE.INPUT_TOKENS": 14}, "input_tokens", 14),
    ],
)
def test_fields_are_read_from_the_attributes_of_each_convention(attributes, field, value):
    assert getattr(read(span(CHAT | attributes)), field) == value


@pytest.mark.parametrize(
    ("status", "code"),
    [({"code": 2}, 500), ({"code": "STATUS_CODE_ERROR"}, 500), ({"status_code": "OK"}, 200)],
)
def test_status_of_the_span_is_the_last_resort(status, code):
    assert read(span(CHAT, status=status)).status == code


@pytest.mark.parametrize(
    ("names", "key"),
    [
        (["user.id", "enduser.id", "api_key.hash"], "api_key.hash"),
        (["user.id", "metadata.user_api_key_hash"], "metadata.user_api_key_hash"),
        (["ai.telemetry.metadata.apiKeyId", "user.id"], "ai.telemetry.metadata.apiKeyId"),
        (["user.id"], "user.id"),
    ],
)
def test_key_comes_before_the_user(names, key):
    assert read(span({"gen_ai.system": "x", **{name: name for name in names}})).api_key == key


def test_address_of_the_model_server_is_not_the_clients():
    assert read(span(CHAT | {"network.peer.address": "198.51.100.1"})).ip is None


def test_record_in_an_envelope_is_read():
    filebeat = {"host": {"name": "gw"}, "message": json.dumps(export(span(ASKED)))}
    assert read(filebeat).prompt == QUESTION


def test_plain_record_with_a_key_is_read():
    plain = {
        "timestamp": NOW,
        "api_key": "k",
        "request": {"model": "m", "messages": [{"role": "User", "content": QUESTION}]},
    }
    event = read(plain)
    assert (event.prompt, event.api_key, event.model) == (QUESTION, "k", "m")


def test_every_decoy_is_read_as_a_part():
    decoy = ASKED | {"gen_ai.input.messages": '[{"role": "user", "content": "Hello."}]'}
    assert {part.text for part in read(span(decoy)).parts} == {QUESTION, "Hello."}
