"""From a message value to JSON text or documents, whatever it is wrapped in.

Compression, base64, UTF-16 and UTF-32, Confluent's wire format, AWS Glue's, Avro files. A value may
be wrapped more than once, for example gzip in base64. A JSON object or array is recognised by its
first two bytes and costs nothing more.

>>> import gzip
>>> Unframer(Schemas(), 1_000)(gzip.compress(b'{"ts": 1}'))
b'{"ts": 1}'
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from monitor.requests.framing import avro, text
from monitor.requests.framing.compression import decompress
from monitor.requests.framing.schemas import Schemas
from monitor.requests.reasons import ElementError

_LAYERS = 4  # of wrapping
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1d\x1f]")  # never in text; RFC 7464 has 0x1e
_LOOKED_AT = 256  # bytes
_GLUE = (b"\x03\x00", b"\x03\x05")  # plain and zlib, followed by a 16-byte schema id
_GLUE_HEADER = 18
_SINGLE_OBJECT = b"\xc3\x01"  # Avro, followed by an 8-byte fingerprint of the schema
_SINGLE_HEADER = 10
_NOT_MESSAGES = {
    b"PAR1": "a Parquet file: give it to `xm replay` or `xm inspect`",
    b"PK\x03\x04": "a zip archive: give it to `xm replay` or `xm inspect`",
}

Unframed = bytes | list[Any]
Decode = Callable[[bytes], list[Any]]


class Unframer:
    """Unwraps message values.

    Args:
        schemas: decodes values that are encoded with a schema.
        limit: bytes that a value may have, decompressed.
        binary: decodes bare values of a binary format into documents, and raises `ElementError`
            for a value that is not of this format; default: by the schema file, if there is one.
    """

    def __init__(self, schemas: Schemas, limit: int, binary: Decode | None = None) -> None:
        self._schemas = schemas
        self._limit = limit
        self._binary = binary or schemas.bare

    def __call__(self, value: bytes) -> Unframed:
        """JSON text, or documents.

        Raises:
            ElementError: if the value cannot be unwrapped, with the remedy.
            RegistryUnavailableError: if its schema cannot be fetched now.
        """
        for _ in range(_LAYERS + 1):
            if value[:1] in (b"{", b"[") and value[1:2] != b"\0":
                return value
            inner = self._unwrap(value)
            if inner is None:
                return value
            if isinstance(inner, list):
                return inner
            value = inner
        raise ElementError("undecodable", f"the value is wrapped more than {_LAYERS} times")

    def open_text(self, value: bytes) -> bytes:
        """What a text in an envelope holds: itself, or what is in its base64 and compression.

        Never asks the registry: a client may have written the text.

        Raises:
            ElementError: if compressed data is damaged or too large.
        """
        for _ in range(_LAYERS):
            inner = text.from_base64(value)
            if inner is None:
                inner = decompress(value, self._limit)
            if inner is None:
                break
            value = inner
        return value

    def _unwrap(self, value: bytes) -> Unframed | None:
        """The value without its outermost layer; `None` if it has none."""
        utf8 = text.to_utf8(value)
        if utf8 != value:
            return utf8
        inner = decompress(value, self._limit)
        if inner is None:
            inner = text.from_base64(value)
        if inner is not None:
            return inner
        if value.startswith(avro.CONTAINER):
            return avro.container_documents(value)
        if value[:1] == b"\0":
            return self._schemas.confluent(value)
        if value.startswith(_GLUE):
            packed = value[_GLUE_HEADER:]
            inner = decompress(packed, self._limit) if value[1] else packed
            return self._schema_or_json(inner or b"", "AWS Glue")
        if value.startswith(_SINGLE_OBJECT):
            return self._schema_or_json(value[_SINGLE_HEADER:], "an Avro single object")
        for magic, what in _NOT_MESSAGES.items():
            if value.startswith(magic):
                raise ElementError("undecodable", f"the value is {what}")
        return self._bare(value)

    def _schema_or_json(self, value: bytes, framing: str) -> Unframed:
        if value[:1] in (b"{", b"["):
            return value
        if self._schemas.bare is None:
            raise ElementError(
                "undecodable",
                f"the value is encoded with a schema ({framing}): set XM_REGISTRY__FILE to it",
            )
        return self._schemas.bare(value)

    def _bare(self, value: bytes) -> list[Any] | None:
        if self._binary is None:
            return None
        try:
            return self._binary(value)
        except ElementError:
            if _CONTROL.search(value[:_LOOKED_AT]):
                raise
            return None  # it may be text that begins with a blank line
