"""OpenTelemetry's GenAI conventions: the model calls of an export, flattened.

Spans or log records with an `attributes` object, or whole OTLP/JSON exports, as the collector's
Kafka exporter writes them. In an export only model calls are requests; spans of agents, tools,
databases and HTTP servers are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from monitor.requests.reasons import ElementError

# GenAI operations that are not model calls; the model calls they make have their own spans.
_NOT_MODEL_CALLS = ("execute_tool", "create_agent", "invoke_agent", "invoke_workflow", "plan")
_LEVELS = (("resourceSpans", "scopeSpans", "spans"), ("resourceLogs", "scopeLogs", "logRecords"))
_JSON_IN_STRINGS = ("gen_ai.system_instructions", "gen_ai.tool.definitions")


def model_calls(document: dict[str, Any]) -> list[Any]:
    """The model calls of an OTLP export, flattened; a single span or record is one call.

    Raises:
        ElementError: if the export has no model call.
    """
    for resources, scopes, records in _LEVELS:
        if resources in document:
            spans = _each([document], resources, scopes, records)
            calls = [call for span in spans if _is_model_call(call := _flat(span))]
            if not calls:
                detail = "the export has no model call (no gen_ai attribute)"
                raise ElementError("missing_field", detail)
            return calls
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
