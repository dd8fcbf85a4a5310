"""Presets on records in the shapes of their gateways' documentation, in our own wording."""

from __future__ import annotations

import json
from typing import Any

import pytest

from monitor.requests.decoder import Decoder, RequestEvent
from tests.support.gateway_records import (
    APIM,
    ASK,
    CHAT,
    CLOUDFLARE,
    CONVERSE,
    LANGFUSE,
    RECORDS,
    SGLANG,
    TERSE,
    VLLM,
    bedrock,
)

NOW = 1_900_000_000.0
EXPECTED = {
    "prompt": ASK,
    "system": TERSE,
    "model": "atlas-small",
    "max_tokens": 256,
    "input_tokens": 21,
    "output_tokens": 40,
}


def decode(preset: str, *records: dict[str, Any]) -> list[RequestEvent]:
    decoded = Decoder(preset).decode([json.dumps(each).encode() for each in records], NOW)
    assert [each.detail for each in decoded.rejections] == []
    return decoded.events


@pytest.mark.parametrize("name", RECORDS)
def test_preset_reads_record(name: str) -> None:
    preset, record, key, ts, absent = RECORDS[name]
    [event] = decode(preset, record)
    wanted = {field: value for field, value in EXPECTED.items() if field not in absent}
    assert {field: getattr(event, field) for field in wanted} == wanted
    assert (event.api_key, event.ts) == (key, pytest.approx(ts))


@pytest.mark.parametrize("name", RECORDS)
def test_preset_reads_every_field_or_leaves_it_out(name: str) -> None:
    preset, record, *_ = RECORDS[name]
    decoded = Decoder(preset).decode([json.dumps(record).encode()], NOW)
    assert decoded.unreadable == {}


@pytest.mark.parametrize("name", [name for name in RECORDS if name not in ("APIM", "vLLM")])
def test_preset_reads_record_in_an_envelope(name: str) -> None:
    preset, record, key, *_ = RECORDS[name]
    shipped = {"host": {"name": "gw-1"}, "message": json.dumps(record)}
    assert [event.api_key for event in decode(preset, shipped)] == [key]


@pytest.mark.parametrize("name", RECORDS)
def test_preset_leaves_out_what_is_a_dash(name: str) -> None:
    preset, record, key, _, _ = RECORDS[name]
    dashed = {
        field: "-"
        if type(value) in (int, float) and field not in ("started_at", "start_time")
        else value
        for field, value in record.items()
    }
    assert [event.api_key for event in decode(preset, dashed)] == [key]


@pytest.mark.parametrize(
    "body",
    [
        {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 256,
            "system": TERSE,
            "messages": [{"role": "user", "content": [{"type": "text", "text": ASK}]}],
        },
        {"prompt": ASK, "max_gen_len": 256},
        {"inputText": ASK, "textGenerationConfig": {"maxTokenCount": 256}},
        {
            "messages": [{"role": "user", "content": [{"text": ASK}]}],
            "inferenceConfig": {"max_new_tokens": 256},
        },
        {"message": ASK, "max_tokens": 256},
    ],
    ids=["Anthropic", "Llama", "Titan", "Nova", "Cohere"],
)
def test_bedrock_reads_bodies_of_all_makers(body: dict[str, Any]) -> None:
    [event] = decode("bedrock", bedrock(body))
    assert (event.prompt, event.max_tokens) == (ASK, 256)


def test_bedrock_sessions_of_a_role_are_one_key() -> None:
    arns = [f"arn:aws:sts::111122223333:assumed-role/etl/{session}" for session in "ab"]
    records = [bedrock(CONVERSE) | {"identity": {"arn": arn}} for arn in arns]
    events = decode("bedrock", *records)
    assert {event.api_key for event in events} == {"arn:aws:sts::111122223333:assumed-role/etl"}
    assert [event.end_user for event in events] == ["a", "b"]


def test_bedrock_failure_has_its_status() -> None:
    [event] = decode("bedrock", bedrock(CONVERSE) | {"errorCode": "ThrottlingException"})
    assert event.status == 429


def test_azure_counts_every_record() -> None:
    records = [APIM | {"correlationId": f"r-{i}"} for i in range(3)]
    assert [event.id for event in decode("azure-apim", {"records": records})] == [
        "r-0",
        "r-1",
        "r-2",
    ]


def test_encrypted_cloudflare_body_is_no_prompt() -> None:
    encrypted = {"type": "encrypted", "key": "aGk=", "iv": "aGk=", "data": "bm90aGluZw=="}
    [event] = decode("cloudflare", CLOUDFLARE | {"RequestBody": encrypted})
    assert event.prompt is None


@pytest.mark.parametrize(
    ("preset", "record"),
    [
        ("langfuse", LANGFUSE | {"type": "SPAN"}),
        ("langfuse", LANGFUSE | {"type": "EVENT"}),
        ("sglang", SGLANG | {"event": "request.received"}),
        ("azure-apim", APIM | {"category": "WebSocketConnectionLogs"}),
        ("vllm", {"timestamp": "2026-02-25T10:00:00Z", "message": "Avg prompt throughput: 3.1"}),
    ],
)
def test_record_of_another_kind_is_no_request(preset: str, record: dict[str, Any]) -> None:
    decoded = Decoder(preset).decode([json.dumps(record).encode()], NOW)
    assert (decoded.events, decoded.rejections, decoded.ignored) == ([], [], {"other_type": 1})


def test_vllm_prompt_cannot_end_its_own_quotes() -> None:
    prompt = (
        "It's \"here\"', params: SamplingParams(max_tokens=1)\nReceived request x: prompt: 'no'"
    )
    line = f"INFO Received request r-1: prompt: {prompt!r}, params: SamplingParams(max_tokens=64)"
    [event] = decode("vllm", VLLM | {"message": line})
    assert (event.id, event.prompt, event.max_tokens) == ("r-1", prompt, 64)


@pytest.mark.parametrize("name", ["Langfuse", "SGLang"])
def test_kind_of_an_envelope_does_not_hide_its_record(name: str) -> None:
    preset, record, key, *_ = RECORDS[name]
    event = {"specversion": "1.0", "type": "gateway.log", "event": "log", "data": record}
    assert [event.api_key for event in decode(preset, event)] == [key]


@pytest.mark.parametrize("preset", ["kong", "apisix", "envoy", "databricks", "nginx"])
def test_client_cannot_choose_key_or_time_in_its_body(preset: str) -> None:
    name = {"kong": "Kong", "apisix": "APISIX", "nginx": "nginx"}.get(preset, preset.title())
    _, record, key, ts, _ = RECORDS[name]
    body = CHAT | {"api_key": "victim", "ts": 1.0, "requester": "victim", "consumer": "victim"}
    text = json.dumps(record).replace(json.dumps(json.dumps(CHAT)), json.dumps(json.dumps(body)))
    [event] = decode(preset, json.loads(text.replace(json.dumps(CHAT), json.dumps(body))))
    assert (event.api_key, event.ts) == (key, pytest.approx(ts))
