"""OTLP/HTTP answers, in protobuf or JSON as the client asked.

Source: opentelemetry.io/docs/specs/otlp, section OTLP/HTTP; opentelemetry-proto, collector/logs/v1
and collector/trace/v1; google.rpc.Status.
"""

from __future__ import annotations

import json

PROTOBUF, JSON = "application/x-protobuf", "application/json"
RECORDS = {"traces": "rejectedSpans", "logs": "rejectedLogRecords"}  # by signal

_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 413: 8, 415: 3, 503: 14}  # of gRPC, by status


def success(signal: str, media_type: str, rejected: int, reason: str) -> bytes:
    """The body of an answer to an export that was stored.

    Args:
        signal: `traces` or `logs`.
        media_type: of the request.
        rejected: number of its records that cannot be used.
        reason: why.
    """
    if media_type == JSON:
        partial = {RECORDS[signal]: str(rejected), "errorMessage": reason}
        return json.dumps({"partialSuccess": partial} if rejected else {}).encode()
    if not rejected:
        return b""
    partial_success = _number_and_text(rejected, reason)
    return b"\x0a" + _varint(len(partial_success)) + partial_success


def failure(status: int, media_type: str, reason: str) -> bytes:
    """The body of an answer that refuses an export: a google.rpc.Status."""
    code = _CODES.get(status, 2)
    if media_type == JSON:
        return json.dumps({"code": code, "message": reason}).encode()
    return _number_and_text(code, reason)


def _number_and_text(number: int, text: str) -> bytes:
    """A protobuf message with a number in field 1 and a text in field 2."""
    data = text.encode()
    return b"\x08" + _varint(number) + b"\x12" + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
