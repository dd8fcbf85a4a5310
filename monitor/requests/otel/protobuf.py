"""OTLP protobuf: what the collector's Kafka exporter writes by default (`otlp_proto`).

The bytes of an ExportTraceServiceRequest or ExportLogsServiceRequest become the object that the
same export is in OTLP/JSON, with attributes as plain objects. Both requests have the same outer
fields, so the wire types of their records tell which one it is.

protobuf's own parser refuses a whole export when one value nests a hundred levels deep, so that one
client could lose the requests of others. This one leaves that value out.

Source: opentelemetry-proto, trace/v1/trace.proto, logs/v1/logs.proto, common/v1/common.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

_DEPTH = 64  # levels of nested messages that are read
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _Field(NamedTuple):
    """A field of a message: its name in JSON, wire type, and what its value is."""

    name: str
    wire: int
    kind: str  # a message of _MESSAGES, or text, hex, number, flag, double
    repeated: bool = False


_MESSAGES: dict[str, dict[int, _Field]] = {
    "traces": {1: _Field("resourceSpans", _BYTES, "resource spans", True)},
    "resource spans": {
        1: _Field("resource", _BYTES, "holder"),
        2: _Field("scopeSpans", _BYTES, "scope spans", True),
    },
    "scope spans": {
        1: _Field("scope", _BYTES, "scope"),
        2: _Field("spans", _BYTES, "span", True),
    },
    "logs": {1: _Field("resourceLogs", _BYTES, "resource logs", True)},
    "resource logs": {
        1: _Field("resource", _BYTES, "holder"),
        2: _Field("scopeLogs", _BYTES, "scope logs", True),
    },
    "scope logs": {
        1: _Field("scope", _BYTES, "scope"),
        2: _Field("logRecords", _BYTES, "log record", True),
    },
    "holder": {1: _Field("attributes", _BYTES, "pair", True)},
    "scope": {
        1: _Field("name", _BYTES, "text"),
        2: _Field("version", _BYTES, "text"),
        3: _Field("attributes", _BYTES, "pair", True),
    },
    "span": {
        1: _Field("traceId", _BYTES, "hex"),
        2: _Field("spanId", _BYTES, "hex"),
        4: _Field("parentSpanId", _BYTES, "hex"),
        5: _Field("name", _BYTES, "text"),
        6: _Field("kind", _VARINT, "number"),
        7: _Field("startTimeUnixNano", _FIXED64, "number"),
        8: _Field("endTimeUnixNano", _FIXED64, "number"),
        9: _Field("attributes", _BYTES, "pair", True),
        11: _Field("events", _BYTES, "event", True),
        15: _Field("status", _BYTES, "status"),
    },
    "event": {
        1: _Field("timeUnixNano", _FIXED64, "number"),
        2: _Field("name", _BYTES, "text"),
        3: _Field("attributes", _BYTES, "pair", True),
    },
    "status": {2: _Field("message", _BYTES, "text"), 3: _Field("code", _VARINT, "number")},
    "log record": {
        1: _Field("timeUnixNano", _FIXED64, "number"),
        2: _Field("severityNumber", _VARINT, "number"),
        3: _Field("severityText", _BYTES, "text"),
        5: _Field("body", _BYTES, "value"),
        6: _Field("attributes", _BYTES, "pair", True),
        9: _Field("traceId", _BYTES, "hex"),
        10: _Field("spanId", _BYTES, "hex"),
        11: _Field("observedTimeUnixNano", _FIXED64, "number"),
        12: _Field("eventName", _BYTES, "text"),
    },
    "pair": {1: _Field("key", _BYTES, "text"), 2: _Field("value", _BYTES, "value")},
    "value": {
        1: _Field("stringValue", _BYTES, "text"),
        2: _Field("boolValue", _VARINT, "flag"),
        3: _Field("intValue", _VARINT, "number"),
        4: _Field("doubleValue", _FIXED64, "double"),
        5: _Field("arrayValue", _BYTES, "values"),
        6: _Field("kvlistValue", _BYTES, "pairs"),
        7: _Field("bytesValue", _BYTES, "hex"),
    },
    "values": {1: _Field("values", _BYTES, "value", True)},
    "pairs": {1: _Field("values", _BYTES, "pair", True)},
}


def decode_export(data: bytes) -> dict[str, Any] | None:
    """The export in the bytes, as in OTLP/JSON; `None` if they are anything else."""
    if data[:1] != b"\n":  # field 1, length-delimited
        return None
    for request, resources, scopes, records in (
        ("traces", "resourceSpans", "scopeSpans", "spans"),
        ("logs", "resourceLogs", "scopeLogs", "logRecords"),
    ):
        try:
            export = _message(memoryview(data), request, _DEPTH)
        except ValueError:
            return None
        found = [
            record
            for resource in export.get(resources, ())
            for scope in resource.get(scopes, ())
            for record in scope.get(records, ())
        ]
        if any("endTimeUnixNano" in each or "startTimeUnixNano" in each for each in found) or any(
            "timeUnixNano" in each or "observedTimeUnixNano" in each for each in found
        ):
            return export
    return None


def _message(data: memoryview, message: str, depth: int) -> dict[str, Any]:
    fields = _MESSAGES[message]
    found: dict[str, Any] = {}
    for number, wire, content in _fields(data):
        field = fields.get(number)
        if field is None or field.wire != wire:
            continue
        value = _read(content, field.kind, depth - 1)
        if field.repeated:
            found.setdefault(field.name, []).append(value)
        else:
            found[field.name] = value
    return found


def _read(content: Any, kind: str, depth: int) -> Any:
    if kind == "text":
        return str(content, "utf-8", "replace")
    if kind == "hex":
        return content.hex()
    if kind == "double":
        return struct.unpack("<d", struct.pack("<Q", content))[0]
    if kind == "number":
        return content
    if kind == "flag":
        return content != 0
    return _message(content, kind, depth) if depth > 0 else {}


def _fields(data: memoryview) -> Iterator[tuple[int, int, Any]]:
    """The fields of a message: number, wire type and content.

    Raises:
        ValueError: if the bytes are not a message.
    """
    at, size = 0, len(data)
    while at < size:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, wire, value - (1 << 64) if value >> 63 else value
            continue
        if wire == _BYTES:
            length, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError("groups are not used")
        end = at + length
        if not number or end > size:
            raise ValueError("the message ends within a field")
        content = data[at:end]
        yield number, wire, content if wire == _BYTES else int.from_bytes(content, "little")
        at = end


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise ValueError("a number does not end")
