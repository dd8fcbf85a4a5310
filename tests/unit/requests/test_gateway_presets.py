"""Presets on records in the shapes of their gateways' documentation, in our own wording."""

from __future__ import annotations

import json
from typing import Any

import pytest

from monitor.requests.decoder import Decoder, RequestEvent

NOW = 1_900_000_000.0
ASK = "Which glaciers feed the Indus?"
TERSE = "Answer in one line."
CHAT = {
    "model": "atlas-small",
    "messages": [{"role": "system", "content": TERSE}, {"role": "user", "content": ASK}],
    "max_tokens": 256,
    "temperature": 0.5,
    "user": "visitor-9",
}
USAGE = {"usage": {"prompt_tokens": 21, "completion_tokens": 40}}

KONG = {
    "started_at": 1_795_687_200_000,
    "latencies": {"request": 1_500, "proxy": 1_490},
    "client_ip": "192.0.2.7",
    "consumer": {"id": "consumer-1", "username": "shop"},
    "authenticated_entity": {"id": "credential-1"},
    "request": {"id": "r-1", "headers": {"User-Agent": "curl/8"}, "uri": "/chat"},
    "response": {"status": 200},
    "ai": {
        "proxy": {
            "payload": {"request": json.dumps(CHAT), "response": "{}"},
            "usage": {"prompt_tokens": 21, "completion_tokens": 40},
            "meta": {"request_model": "atlas-small", "provider_name": "openai"},
        }
    },
}
KONG_OLD = KONG | {
    "ai": {
        "payload": {"request": json.dumps(CHAT)},
        "ai-proxy": {
            "usage": {"prompt_token": 21, "completion_token": 40},
            "meta": {"request_model": "atlas-small"},
        },
    }
}
DATABRICKS = {
    "request_date": "2026-11-26",
    "databricks_request_id": "r-1",
    "request_time": "2026-11-26 10:00:00.000",
    "status_code": 200,
    "execution_duration_ms": 1_500,
    "request": json.dumps(CHAT),
    "response": json.dumps(USAGE),
    "requester": "analyst@example.com",
}
APIM = {
    "time": "2026-11-26T10:00:00.0000007Z",
    "category": "GatewayLlmLogs",
    "correlationId": "r-1",
    "durationMs": 1_500,
    "callerIpAddress": "192.0.2.7",
    "properties": {
        "apimSubscriptionId": "subscription-1",
        "modelName": "atlas-small",
        "promptTokens": 21,
        "completionTokens": 40,
        "requestMessages": json.dumps(CHAT["messages"]),
    },
}
CONVERSE = {
    "messages": [{"role": "user", "content": [{"text": ASK}]}],
    "system": [{"text": TERSE}],
    "inferenceConfig": {"maxTokens": 256, "temperature": 0.5},
}


def bedrock(body: Any, operation: str = "InvokeModel") -> dict[str, Any]:
    return {
        "timestamp": "2026-11-26T10:00:00Z",
        "accountId": "111122223333",
        "identity": {"arn": "arn:aws:iam::111122223333:user/etl"},
        "requestId": "r-1",
        "operation": operation,
        "modelId": "atlas-small",
        "input": {"inputBodyJson": body, "inputTokenCount": 21},
        "output": {"outputBodyJson": {}, "outputTokenCount": 40},
    }


GEMINI_BODY = {
    "contents": [{"role": "user", "parts": [{"text": ASK}]}],
    "systemInstruction": {"parts": [{"text": TERSE}]},
    "generationConfig": {"maxOutputTokens": 256, "temperature": 0.5},
}
GEMINI_USAGE = {"usageMetadata": {"promptTokenCount": 21, "candidatesTokenCount": 40}}
VERTEX = {
    "logging_time": "2026-11-26 10:00:00.000000 UTC",
    "request_id": 71,
    "model": "atlas-small",
    "principal": "robot@project.example",
    "full_request": GEMINI_BODY,
    "full_response": GEMINI_USAGE,
}
GEMINI = {
    "timestamp": "2026-11-26T10:00:00Z",
    "request_id": "r-1",
    "remote_addr": "192.0.2.7",
    "request": {"headers": {"X-Goog-Api-Key": "key-1"}, "body": GEMINI_BODY},
    "response": {"body": GEMINI_USAGE | {"modelVersion": "atlas-small"}},
}
ENVOY = {
    "start_time": "2026-11-26T10:00:00.000Z",
    "duration": 1_500,
    "x-api-key-id": "key-1",
    "x-request-id": "r-1",
    "response_code": 200,
    "genai_model_name": "atlas-small",
    "genai_tokens_input": "21",
    "genai_tokens_output": "40",
    "downstream_remote_address": "192.0.2.7:51034",
    "user-agent": "-",
    "request_body": json.dumps(CHAT),
}
APISIX = {
    "start_time": 1_795_687_200_000,
    "latency": 1_500.25,
    "client_ip": "192.0.2.7",
    "consumer": {"username": "shop"},
    "request": {"headers": {"apikey": "raw-key"}, "uri": "/chat"},
    "response": {"status": 200},
    "llm_summary": {"model": "atlas-small", "prompt_tokens": "21", "completion_tokens": "40"},
    "llm_request": CHAT,
}
HIGRESS = {
    "start_time": "2026-11-26T10:00:00.000Z",
    "duration": "1500",
    "response_code": "200",
    "request_id": "r-1",
    "downstream_remote_address": "192.0.2.7:51034",
    "ai_log": json.dumps(
        {
            "model": "atlas-small",
            "input_token": "21",
            "output_token": "40",
            "consumer": "shop",
            "question": ASK,
        }
    ),
}
LANGFUSE = {
    "id": "r-1",
    "type": "GENERATION",
    "startTime": "2026-11-26T10:00:00.000Z",
    "endTime": "2026-11-26T10:00:01.500Z",
    "model": "atlas-small",
    "modelParameters": {"max_tokens": "256", "temperature": 0.5},
    "input": CHAT["messages"],
    "usageDetails": {"input": 21, "output": 40, "total": 61},
    "userId": "user-1",
}
LANGFUSE_EXPORT = {
    "id": "r-1",
    "type": "GENERATION",
    "start_time": "2026-11-26 10:00:00.000000",
    "end_time": "2026-11-26 10:00:01.500000",
    "provided_model_name": "atlas-small",
    "model_parameters": json.dumps({"max_tokens": 256}),
    "input": json.dumps({"messages": CHAT["messages"], "tools": []}),
    "usage_details": {"input": 21, "output": 40},
    "user_id": "user-1",
}
HELICONE = {
    "request_id": "r-1",
    "request_created_at": "2026-11-26 10:00:00.000",
    "response_created_at": "2026-11-26 10:00:01.500",
    "request_user_id": "visitor-9",
    "auth_hash": "hash-1",
    "request_body": CHAT,
    "response_status": 200,
    "delay_ms": 1_500,
    "prompt_tokens": 21,
    "completion_tokens": 40,
    "country_code": "PE",
}
PORTKEY = {
    "id": "r-1",
    "created_at": "2026-11-26T10:00:00.000Z",
    "request": {"body": CHAT, "url": "https://llm.invalid"},
    "response": {"body": USAGE},
    "ai_model": "atlas-small",
    "req_units": 21,
    "res_units": 40,
    "response_status_code": 200,
    "response_time": 1_500,
    "api_key_id": "key-1",
    "metadata": {"_user": "visitor-9"},
}
CLOUDFLARE = {
    "Timestamp": "2026-11-26T10:00:00Z",
    "Model": "atlas-small",
    "StatusCode": 200,
    "Metadata": {"api_key_id": "key-1"},
    "Metrics": {"durationMs": 1_500},
    "RequestBody": json.dumps(CHAT),
    "ResponseBody": json.dumps(USAGE),
}
NGINX = {
    "msec": "1795687201.500",
    "time_iso8601": "2026-11-26T10:00:01+00:00",
    "remote_addr": "192.0.2.7",
    "http_authorization": "Bearer raw-key",
    "http_user_agent": "",
    "status": "200",
    "request_time": "1.500",
    "request_id": "r-1",
    "request_body": json.dumps(CHAT),
}
SGLANG = {
    "timestamp": "2026-11-26T10:00:01.500000",
    "event": "request.finished",
    "rid": "r-1",
    "headers": {"X-API-Key-Id": "key-1"},
    "obj": {"text": ASK, "sampling_params": {"max_new_tokens": 256, "temperature": 0.5}},
    "out": {"meta_info": {"prompt_tokens": 21, "completion_tokens": 40, "e2e_latency": 1.5}},
}

VLLM = {
    "timestamp": "2026-11-26T10:00:00Z",
    "kubernetes": {"labels": {"tenant": "team-7"}},
    "message": f"Received request chatcmpl-1: prompt: {ASK!r}, params: SamplingParams(n=1, "
    "temperature=0.5, top_p=1.0, max_tokens=256, logprobs=None), lora_request: None.",
}

START, END = 1_795_687_200.0, 1_795_687_201.5
# Preset, record, and what must be read of it: the key, the time, and fields that are not read.
RECORDS: dict[str, tuple[str, dict[str, Any], str, float, set[str]]] = {
    "Kong": ("kong", KONG, "credential-1", END, set()),
    "Kong before 3.10": ("kong", KONG_OLD, "credential-1", END, set()),
    "Databricks": ("databricks", DATABRICKS, "analyst@example.com", END, set()),
    "APIM": ("azure-apim", {"records": [APIM]}, "subscription-1", END, {"max_tokens"}),
    "APIM, one record": ("azure-apim", APIM, "subscription-1", END, {"max_tokens"}),
    "Bedrock Converse": (
        "bedrock",
        bedrock(CONVERSE, "Converse"),
        "arn:aws:iam::111122223333:user/etl",
        START,
        set(),
    ),
    "Vertex": ("vertex", VERTEX, "robot@project.example", START, set()),
    "Vertex, texts": (
        "vertex",
        VERTEX
        | {"full_request": json.dumps(GEMINI_BODY), "full_response": json.dumps(GEMINI_USAGE)},
        "robot@project.example",
        START,
        set(),
    ),
    "Gemini": ("gemini", GEMINI, "key-1", START, set()),
    "Envoy": ("envoy", ENVOY, "key-1", END, set()),
    "APISIX": ("apisix", APISIX, "shop", START + 1.50025, set()),
    "Higress": ("higress", HIGRESS, "shop", END, {"max_tokens", "system"}),
    "Langfuse": ("langfuse", LANGFUSE, "user-1", END, set()),
    "Langfuse export": ("langfuse", LANGFUSE_EXPORT, "user-1", END, set()),
    "Helicone": ("helicone", HELICONE, "hash-1", END, set()),
    "Portkey": ("portkey", PORTKEY, "key-1", START, set()),
    "Cloudflare": ("cloudflare", CLOUDFLARE, "key-1", START, set()),
    "nginx": ("nginx", NGINX, "raw-key", END, {"input_tokens", "output_tokens"}),
    "vLLM": ("vllm", VLLM, "team-7", START, {"system", "model", "input_tokens", "output_tokens"}),
    "SGLang": ("sglang", SGLANG, "key-1", END, {"system", "model"}),
}
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
        ("vllm", {"timestamp": "2026-11-26T10:00:00Z", "message": "Avg prompt throughput: 3.1"}),
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
