"""Presets: the mapping tables that ship with the package, besides the native format.

`litellm`     LiteLLM's StandardLoggingPayload, as its Kafka, webhook and storage loggers write it
`openai`      a gateway's log of OpenAI requests and responses: {"request": …, "response": …},
              each bare or under "body", or both flattened into one object; Chat Completions,
              Completions and Responses
`otel-genai`  OpenTelemetry's GenAI conventions: spans or log records with an `attributes` object,
              or whole OTLP/JSON exports, as the collector's Kafka exporter writes them

OpenTelemetry defines no attribute for the API key. `otel-genai` takes the first of `api_key.id`,
`api_key.hash`, `api_key_id`, LiteLLM's `metadata.user_api_key_hash`, the captured request header
`x-api-key-id` and finally `enduser.id`. To read another attribute, override the field:
`[mapping] preset = "otel-genai"; api_key = "/attributes/my.key"`. In an OTLP export only model
calls are requests; spans of agents, tools, databases and HTTP servers are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

# Status words and the HTTP status code that each one means.
_STATUS = {
    "success": 200,
    "completed": 200,
    "incomplete": 200,
    "in_progress": 200,
    "ok": 200,
    "failure": 500,
    "failed": 500,
    "error": 500,
    "cancelled": 499,
}

_LITELLM = {
    "ts": "/startTime",
    "api_key": "/metadata/user_api_key_hash",
    "id": ["/id", "/call_id"],
    "account": [
        "/metadata/user_api_key_user_id",
        "/metadata/user_api_key_team_id",
        "/metadata/user_api_key_org_id",
    ],
    "end_user": ["/end_user", "/metadata/user_api_key_end_user_id"],
    "ip": ["/requester_ip_address", "/metadata/requester_ip_address"],
    "user_agent": ["/user_agent", "/metadata/user_agent"],
    "model": ["/model_group", "/model"],  # the name the client asked for, then the deployment's
    "status": [
        {"path": "/error_information/error_code", "values": {}},
        {"path": "/status", "values": _STATUS},
    ],
    "latency_ms": {"path": "/response_time", "unit": "s"},
    "input_tokens": "/prompt_tokens",
    "output_tokens": "/completion_tokens",
    "messages": "/messages",
    "system": "/model_parameters/instructions",
    "max_tokens": [
        "/model_parameters/max_completion_tokens",
        "/model_parameters/max_tokens",
        "/model_parameters/max_output_tokens",
    ],
    "temperature": "/model_parameters/temperature",
    "n": "/model_parameters/n",
    "logprobs": ["/model_parameters/logprobs", "/model_parameters/top_logprobs"],
    "tools": ["/model_parameters/tools", "/model_parameters/functions"],
}


def _paths(places: tuple[str, ...], *names: str) -> list[Any]:
    return [f"{place}/{name}" for name in names for place in places]


_REQUEST = ("/request", "/request/body", "/body", "")
_RESPONSE = ("/response", "/response/body", "")

_OPENAI = {
    "ts": [
        *_paths(("", "/request"), "ts", "timestamp", "created_at", "time"),
        *_paths(("/response", "/response/body"), "created", "created_at"),
        "/created",
    ],
    "api_key": _paths(("", "/request", "/metadata"), "api_key", "api_key_id", "api_key_hash"),
    "id": ["/request_id", "/response/id", "/response/body/id", "/id"],
    "account": [
        *_paths(("", "/request", "/metadata"), "account", "organization", "organization_id"),
        *_paths(("", "/request"), "project_id"),
        *_paths(("/request/headers", "/response/headers"), "openai-organization"),
    ],
    "end_user": _paths(_REQUEST, "safety_identifier", "user"),
    "payment": ["/payment", "/metadata/payment"],
    "ip": _paths(("", "/request"), "ip", "client_ip", "remote_addr"),
    "tls_fingerprint": _paths(("", "/request"), "tls_fingerprint", "ja4", "ja3"),
    "user_agent": [
        *_paths(("", "/request"), "user_agent"),
        *_paths(("/request/headers", "/headers"), "user-agent", "User-Agent"),
    ],
    "country": _paths(("", "/request"), "country"),
    "asn": _paths(("", "/request"), "asn"),
    "model": _paths((*_REQUEST, "/response"), "model"),
    "status": [
        {"path": path, "values": _STATUS}
        for path in _paths(("/response", ""), "status_code", "status")
    ],
    "latency_ms": [
        *_paths(("", "/response"), "latency_ms", "duration_ms"),
        "/response/headers/openai-processing-ms",
    ],
    "input_tokens": _paths(_RESPONSE, "usage/prompt_tokens", "usage/input_tokens"),
    "output_tokens": _paths(_RESPONSE, "usage/completion_tokens", "usage/output_tokens"),
    "messages": _paths(_REQUEST, "messages", "input"),
    "prompt": _paths(_REQUEST, "prompt"),
    "system": _paths(_REQUEST, "instructions"),
    "max_tokens": _paths(_REQUEST, "max_completion_tokens", "max_tokens", "max_output_tokens"),
    "temperature": _paths(_REQUEST, "temperature"),
    "n": _paths(_REQUEST, "n"),
    "logprobs": _paths(_REQUEST, "logprobs", "top_logprobs"),
    "tools": _paths(_REQUEST, "tools", "functions"),
}


def _attributes(*names: str) -> list[Any]:
    return [f"/attributes/{name}" for name in names]


_OTEL: dict[str, Any] = {
    "ts": [
        *(
            {"path": f"/{name}", "unit": "ns"}
            for name in (
                "startTimeUnixNano",
                "start_time_unix_nano",
                "timeUnixNano",
                "observedTimeUnixNano",
            )
        ),
        "/start_time",
        "/startTime",
        "/timestamp",
    ],
    "api_key": _attributes(
        "api_key.id",
        "api_key.hash",
        "api_key_id",
        "metadata.user_api_key_hash",
        "http.request.header.x-api-key-id/0",
        "enduser.id",
    ),
    "id": [*_attributes("gen_ai.response.id"), "/spanId", "/span_id", "/context/span_id"],
    "account": _attributes("metadata.user_api_key_user_id", "metadata.user_api_key_team_id"),
    "end_user": _attributes("enduser.pseudo.id", "enduser.id", "user.id"),
    "ip": _attributes("client.address", "source.address", "network.peer.address"),
    "tls_fingerprint": _attributes("tls.client.ja4", "tls.client.ja3"),
    "user_agent": [
        *_attributes("user_agent.original", "http.request.header.user-agent/0"),
    ],
    "country": _attributes("client.geo.country.iso_code", "geo.country.iso_code"),
    "model": _attributes("gen_ai.request.model", "gen_ai.response.model"),
    "status": [
        *_attributes("http.response.status_code", "http.status_code"),
        {"path": "/attributes/error.type", "values": {}},
        {
            "path": "/status/code",
            "values": {
                "0": 200,
                "1": 200,
                "2": 500,
                "STATUS_CODE_UNSET": 200,
                "STATUS_CODE_OK": 200,
                "STATUS_CODE_ERROR": 500,
            },
        },
    ],
    "latency_ms": {"path": "/durationNano", "unit": "ns"},
    "input_tokens": _attributes("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    "output_tokens": _attributes("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    "messages": _attributes("gen_ai.input.messages"),
    "system": _attributes("gen_ai.system_instructions"),
    "max_tokens": _attributes("gen_ai.request.max_tokens"),
    "temperature": _attributes("gen_ai.request.temperature"),
    "n": _attributes("gen_ai.request.choice.count"),
    "tools": _attributes("gen_ai.tool.definitions"),
}

PRESETS: dict[str, dict[str, Any]] = {
    "litellm": _LITELLM,
    "openai": _OPENAI,
    "otel-genai": _OTEL,
}

# GenAI operations that are not model calls; the model calls they make have their own spans.
_NOT_MODEL_CALLS = ("execute_tool", "create_agent", "invoke_agent", "invoke_workflow", "plan")
_LEVELS = (("resourceSpans", "scopeSpans", "spans"), ("resourceLogs", "scopeLogs", "logRecords"))
_JSON_IN_STRINGS = ("gen_ai.system_instructions", "gen_ai.tool.definitions")


def model_calls(document: dict[str, Any]) -> list[Any]:
    """The model calls of an OTLP export, flattened; a single span or record is one call."""
    for resources, scopes, records in _LEVELS:
        if resources in document:
            spans = _each([document], resources, scopes, records)
            return [call for span in spans if _is_model_call(call := _flat(span))]
    return [_flat(document)]


def _each(nodes: Any, *path: str) -> Iterator[dict[str, Any]]:
    for node in nodes if type(nodes) is list else ():
        if type(node) is dict:
            if path:
                yield from _each(node.get(path[0]), *path[1:])
            else:
                yield node


def _is_model_call(span: dict[str, Any]) -> bool:
    attributes = span["attributes"]
    return attributes.get("gen_ai.operation.name") not in _NOT_MODEL_CALLS and any(
        name.startswith("gen_ai.") for name in attributes
    )


def _flat(span: dict[str, Any]) -> dict[str, Any]:
    """The span with its attributes as one object, and `durationNano` added."""
    attributes = _pairs(span.get("attributes"))
    for name in _JSON_IN_STRINGS:
        if name in attributes:
            attributes[name] = _decoded(attributes[name])
    flat = {**span, "attributes": attributes}
    start, end = _nanoseconds(span, "startTimeUnixNano"), _nanoseconds(span, "endTimeUnixNano")
    if start and end and end >= start:
        flat["durationNano"] = end - start
    return flat


def _pairs(attributes: Any) -> dict[str, Any]:
    """Attributes as an object, from an object or from OTLP's list of key-value pairs."""
    if type(attributes) is dict:
        return dict(attributes)
    return {
        pair["key"]: _value(pair.get("value"))
        for pair in _each(attributes)
        if type(pair.get("key")) is str
    }


def _value(value: Any) -> Any:
    """The value in an OTLP AnyValue."""
    if type(value) is not dict:
        return value
    for kind, content in value.items():
        inner = content.get("values") if type(content) is dict else None
        if kind == "arrayValue":
            return [_value(each) for each in inner] if type(inner) is list else []
        return _pairs(inner) if kind == "kvlistValue" else content
    return None


def _nanoseconds(span: dict[str, Any], name: str) -> int | None:
    value = span.get(name)
    if type(value) is str and value.isdecimal() and len(value) < 20:
        return int(value)
    return value if type(value) is int else None


def _decoded(value: Any) -> Any:
    """The list in a JSON string; any other value unchanged."""
    if type(value) is not str or value[:1] != "[":
        return value
    try:
        return msgspec.json.decode(value)
    except (ValueError, RecursionError):
        return value


Unbundle = Callable[[dict[str, Any]], list[Any]]
UNBUNDLE: dict[str, Unbundle] = {"otel-genai": model_calls}
