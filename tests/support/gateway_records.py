"""Records in the shapes that gateways, clouds and servers document, in our own wording."""

from __future__ import annotations

import json
from typing import Any

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
    "started_at": 1_772_013_600_000,
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
    "request_date": "2026-02-25",
    "databricks_request_id": "r-1",
    "request_time": "2026-02-25 10:00:00.000",
    "status_code": 200,
    "execution_duration_ms": 1_500,
    "request": json.dumps(CHAT),
    "response": json.dumps(USAGE),
    "requester": "analyst@example.com",
}
APIM = {
    "time": "2026-02-25T10:00:00.0000007Z",
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
        "timestamp": "2026-02-25T10:00:00Z",
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
    "logging_time": "2026-02-25 10:00:00.000000 UTC",
    "request_id": 71,
    "model": "atlas-small",
    "principal": "robot@project.example",
    "full_request": GEMINI_BODY,
    "full_response": GEMINI_USAGE,
}
GEMINI = {
    "timestamp": "2026-02-25T10:00:00Z",
    "request_id": "r-1",
    "remote_addr": "192.0.2.7",
    "request": {"headers": {"X-Goog-Api-Key": "key-1"}, "body": GEMINI_BODY},
    "response": {"body": GEMINI_USAGE | {"modelVersion": "atlas-small"}},
}
ENVOY = {
    "start_time": "2026-02-25T10:00:00.000Z",
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
    "start_time": 1_772_013_600_000,
    "latency": 1_500.25,
    "client_ip": "192.0.2.7",
    "consumer": {"username": "shop"},
    "request": {"headers": {"apikey": "raw-key"}, "uri": "/chat"},
    "response": {"status": 200},
    "llm_summary": {"model": "atlas-small", "prompt_tokens": "21", "completion_tokens": "40"},
    "llm_request": CHAT,
}
HIGRESS = {
    "start_time": "2026-02-25T10:00:00.000Z",
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
    "startTime": "2026-02-25T10:00:00.000Z",
    "endTime": "2026-02-25T10:00:01.500Z",
    "model": "atlas-small",
    "modelParameters": {"max_tokens": "256", "temperature": 0.5},
    "input": CHAT["messages"],
    "usageDetails": {"input": 21, "output": 40, "total": 61},
    "userId": "user-1",
}
LANGFUSE_EXPORT = {
    "id": "r-1",
    "type": "GENERATION",
    "start_time": "2026-02-25 10:00:00.000000",
    "end_time": "2026-02-25 10:00:01.500000",
    "provided_model_name": "atlas-small",
    "model_parameters": json.dumps({"max_tokens": 256}),
    "input": json.dumps({"messages": CHAT["messages"], "tools": []}),
    "usage_details": {"input": 21, "output": 40},
    "user_id": "user-1",
}
HELICONE = {
    "request_id": "r-1",
    "request_created_at": "2026-02-25 10:00:00.000",
    "response_created_at": "2026-02-25 10:00:01.500",
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
    "created_at": "2026-02-25T10:00:00.000Z",
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
    "Timestamp": "2026-02-25T10:00:00Z",
    "Model": "atlas-small",
    "StatusCode": 200,
    "Metadata": {"api_key_id": "key-1"},
    "Metrics": {"durationMs": 1_500},
    "RequestBody": json.dumps(CHAT),
    "ResponseBody": json.dumps(USAGE),
}
NGINX = {
    "msec": "1772013601.500",
    "time_iso8601": "2026-02-25T10:00:01+00:00",
    "remote_addr": "192.0.2.7",
    "http_authorization": "Bearer raw-key",
    "http_user_agent": "",
    "status": "200",
    "request_time": "1.500",
    "request_id": "r-1",
    "request_body": json.dumps(CHAT),
}
SGLANG = {
    "timestamp": "2026-02-25T10:00:01.500000",
    "event": "request.finished",
    "rid": "r-1",
    "headers": {"X-API-Key-Id": "key-1"},
    "obj": {"text": ASK, "sampling_params": {"max_new_tokens": 256, "temperature": 0.5}},
    "out": {"meta_info": {"prompt_tokens": 21, "completion_tokens": 40, "e2e_latency": 1.5}},
}

VLLM = {
    "timestamp": "2026-02-25T10:00:00Z",
    "kubernetes": {"labels": {"tenant": "team-7"}},
    "message": f"Received request chatcmpl-1: prompt: {ASK!r}, params: SamplingParams(n=1, "
    "temperature=0.5, top_p=1.0, max_tokens=256, logprobs=None), lora_request: None.",
}

SPENDLOGS = {
    "request_id": "r-1",
    "call_type": "acompletion",
    "api_key": "hash-1",
    "startTime": "2026-02-25T10:00:00.000000",
    "endTime": "2026-02-25T10:00:01.500000",
    "model": "atlas-small",
    "messages": CHAT["messages"],
    "prompt_tokens": 21,
    "completion_tokens": 40,
    "status": "success",
}
ANTHROPIC = {
    "timestamp": "2026-02-25T10:00:00Z",
    "api_key_id": "key-1",
    "request": {
        "model": "atlas-small",
        "max_tokens": 256,
        "system": TERSE,
        "messages": [{"role": "user", "content": [{"type": "text", "text": ASK}]}],
    },
    "response": {"id": "r-1", "usage": {"input_tokens": 21, "output_tokens": 40}},
}

START, END = 1_772_013_600.0, 1_772_013_601.5
# Preset, record, and what must be read of it: the key, the time, and fields that are not read.
RECORDS: dict[str, tuple[str, dict[str, Any], str, float, set[str]]] = {
    "SpendLogs": ("litellm-spendlogs", SPENDLOGS, "hash-1", END, {"max_tokens"}),
    "Anthropic": ("anthropic", ANTHROPIC, "key-1", START, set()),
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
