"""OTLP records as plain objects: attributes by name, identifiers and times in one spelling.

A record is a span or a log record, as OTLP/JSON, an SDK's console exporter, Jaeger, Zipkin or the
collector's ClickHouse exporter writes it. Nothing here knows about language models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

_DEPTH = 32  # levels of nested values that are read
_VALUE_KINDS = frozenset(
    (
        *("stringValue", "boolValue", "intValue", "doubleValue", "bytesValue", "arrayValue"),
        *("kvlistValue", "string_value", "bool_value", "int_value", "double_value", "bytes_value"),
        *("array_value", "kvlist_value", "vStr", "vBool", "vInt64", "vFloat64", "vBinary"),
    )
)
_ATTRIBUTES = ("attributes", "tags", "SpanAttributes", "LogAttributes", "fields")
_SPAN_ID = ("spanId", "span_id", "SpanId", "spanID", "id")
_TRACE_ID = ("traceId", "trace_id", "TraceId", "traceID")
_PARENT_ID = ("parentSpanId", "parent_span_id", "ParentSpanId", "parent_id", "parentId")
_START = ("startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime")
_END = ("endTimeUnixNano", "end_time_unix_nano", "end_time", "endTime")
_AT = ("timeUnixNano", "time_unix_nano", "timestamp", "Timestamp")
_OBSERVED = ("observedTimeUnixNano", "observed_time_unix_nano", "observed_timestamp")
_SCALES = ((1e11, 1_000_000_000), (1e14, 1_000_000), (1e17, 1_000))  # seconds, ms, us; else ns


def attributes_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a span, record, event, resource or scope, by name.

    Nested objects are also given under dotted names, and every name also in lower case, so
    `GenAI.Request` and `{"gen_ai": {"request": …}}` are found where a mapping looks for them.
    """
    found = next((record[name] for name in _ATTRIBUTES if record.get(name)), None)
    attributes = pairs(found)
    for name, value in list(attributes.items()):
        if type(value) is dict:
            _flatten(name, value, attributes, 6)
    for name in list(attributes):
        attributes.setdefault(name.lower(), attributes[name])
    return attributes


def pairs(attributes: Any, depth: int = _DEPTH) -> dict[str, Any]:
    """Attributes as an object, from an object or from a list of key-value pairs."""
    if type(attributes) is dict:
        return {name: plain(value, depth) for name, value in attributes.items()}
    return {
        pair["key"]: plain(pair.get("value", pair), depth)
        for pair in objects(attributes)
        if type(pair.get("key")) is str
    }


def plain(value: Any, depth: int = _DEPTH) -> Any:
    """The value in an OTLP AnyValue; any other value unchanged. `None` if it nests too deeply."""
    if type(value) is not dict:
        return value
    if depth <= 0:
        return None
    kind = next((name for name in value if name in _VALUE_KINDS), None)
    if kind is None:
        return value
    content = value[kind]
    inner = content.get("values") if type(content) is dict else None
    if kind in ("arrayValue", "array_value"):
        return [plain(each, depth - 1) for each in inner] if type(inner) is list else []
    return pairs(inner, depth - 1) if kind in ("kvlistValue", "kvlist_value") else content


def objects(nodes: Any, *path: str) -> Iterator[dict[str, Any]]:
    """The objects in a list, or those that a path of names leads to from each of them."""
    for node in nodes if type(nodes) is list else ():
        if type(node) is not dict:
            continue
        if path:
            yield from objects(node.get(path[0]), *path[1:])
        else:
            yield node


def span_id(record: Mapping[str, Any]) -> str:
    """The span id of a span, or of the span that a log record belongs to; empty without one."""
    return _identifier(record, _SPAN_ID)


def trace_id(record: Mapping[str, Any]) -> str:
    """The trace id; empty without one."""
    return _identifier(record, _TRACE_ID)


def parent_id(record: Mapping[str, Any]) -> str:
    """The span id of the parent span; empty without one."""
    found = _identifier(record, _PARENT_ID)
    if found:
        return found
    context = record.get("parentSpanContext")
    if type(context) is dict:
        return span_id(context)
    return next((span_id(each) for each in objects(record.get("references"))), "")


def times(record: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """When a record starts and ends, in nanoseconds since the epoch.

    A log record ends at its time. `None` where the record does not say; 0 means that, too.
    """
    start, end = _first_time(record, _START), _first_time(record, _END)
    at = _first_time(record, _AT)
    if end is None:
        begin, lasts = start or at, record.get("duration", record.get("Duration"))
        if begin and type(lasts) in (int, float) and 0 <= lasts < 1e15:
            per_unit = 1 if "Duration" in record else 1_000  # ClickHouse: ns; the others: us
            return begin, begin + int(lasts * per_unit)
        end = at or _first_time(record, _OBSERVED)
    return start, end


def _identifier(record: Mapping[str, Any], names: tuple[str, ...]) -> str:
    context = record.get("context", record.get("spanContext"))
    for holder in (record, context if type(context) is dict else {}):
        for name in names:
            value = holder.get(name)
            if type(value) is str and value.strip("0x"):
                return value.removeprefix("0x").lower()
    return ""


def _first_time(record: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    return next((at for name in names if (at := _nanoseconds(record.get(name)))), None)


def _nanoseconds(value: Any) -> int | None:
    """A time as nanoseconds since the epoch; the unit of a number follows from its size."""
    if type(value) is str:
        if value.isdecimal() and len(value) < 20:
            value = int(value)
        else:
            return _instant(value)
    if type(value) not in (int, float) or not 0 < value < 1e20:
        return None
    scale = next((scale for limit, scale in _SCALES if value < limit), 1)
    return int(value * scale)


def _instant(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return int(moment.timestamp() * 1e6) * 1_000


def _flatten(prefix: str, value: dict[str, Any], found: dict[str, Any], depth: int) -> None:
    for name, inner in value.items():
        dotted = f"{prefix}.{name}"
        found.setdefault(dotted, inner)
        if depth and type(inner) is dict:
            _flatten(dotted, inner, found, depth - 1)
