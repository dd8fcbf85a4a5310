"""The elements of a message: single JSON documents, in whatever way a message holds several.

An element that is not read as JSON yet keeps its bytes, so that the strict decoder can read them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from monitor.requests.framing.text import split_documents
from monitor.requests.framing.unframe import Unframer
from monitor.requests.parsing.json_text import JSONError, repair
from monitor.requests.parsing.json_text import parse as parse_json
from monitor.requests.reasons import ElementError

MAX_BYTES = 16 * 2**20  # of a message, also decompressed
MAX_ELEMENTS = 100_000  # of a message: one message must not stall the stream
KEPT_BYTES = 64 * 2**10  # of a message that is too large
UNPARSED = object()  # a document that has not been parsed yet

_PARSE_ERRORS = (ValueError, RecursionError)  # msgspec's errors are ValueErrors
_decode_raw_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Element(NamedTuple):
    """One element of a message.

    Attributes:
        raw: its bytes; empty if it has none of its own.
        document: the parsed JSON, or the `ElementError` that says why there is none.
    """

    raw: bytes
    document: Any = UNPARSED

    def parsed(self) -> Any:
        """The document, or the `ElementError` that says why there is none."""
        return parse(self.raw) if self.document is UNPARSED else self.document

    def repaired(self) -> Any:
        """The document in bytes that are almost JSON, or `None`."""
        if type(self.document) is ElementError and self.document.reason != "not_json":
            return None
        try:
            return repair(self.raw)
        except JSONError:
            return None

    def to_bytes(self) -> bytes:
        if self.raw or type(self.document) is ElementError:
            return self.raw
        try:
            return msgspec.json.encode(self.document)
        except _PARSE_ERRORS:
            return b""


def split(value: bytes, unframe: Unframer) -> list[Element]:
    """The elements of a message, at least one."""
    if len(value) > MAX_BYTES:
        return [_too_large(value, f"{len(value)} bytes, more than {MAX_BYTES}")]
    try:
        unframed = unframe(value)
    except ElementError as error:
        return [Element(value, error)]
    if isinstance(unframed, list):
        return [Element(b"", document) for document in unframed] or [Element(value, _no_element())]
    return split_text(unframed)


def split_text(value: bytes) -> list[Element]:
    if not value.strip():
        return [Element(value, ElementError("empty", "the message has no value"))]
    elements = _array(value) if value.lstrip()[:1] == b"[" else None
    elements = _documents(value) if elements is None else elements
    return elements or [Element(value, _no_element())]


def _array(value: bytes) -> list[Element] | None:
    try:
        elements = _decode_raw_elements(value)
    except _PARSE_ERRORS:
        return None
    if len(elements) > MAX_ELEMENTS:
        return [_too_large(value, f"{len(elements)} elements, more than {MAX_ELEMENTS}")]
    return [Element(bytes(raw)) for raw in elements]


def _documents(value: bytes) -> list[Element]:
    """One document, one per line, or several one after the other."""
    document = parse(value)
    if type(document) is list and len(document) <= MAX_ELEMENTS:  # an array with a NaN or the like
        return [Element(b"", each) for each in document]
    if type(document) is not ElementError:
        return [Element(value, document)]
    if value.count(b"\n") > MAX_ELEMENTS:
        return [_too_large(value, f"more than {MAX_ELEMENTS} lines")]
    lines = [line for line in value.splitlines() if line.strip()]
    if type(parse(lines[0])) is ElementError and (found := split_documents(value, whole=True)):
        return [Element(each) for each in found]
    if len(lines) > 1 and any(type(parse(line)) is dict for line in lines):
        return [Element(each) for line in lines for each in _documents_of_line(line)]
    return [Element(each) for each in split_documents(value) or ()] or [Element(value, document)]


def _documents_of_line(line: bytes) -> list[bytes]:
    failed = type(parse(line)) is ElementError
    return (failed and split_documents(line)) or [line]


def _no_element() -> ElementError:
    return ElementError("empty", "the array has no elements")


def _too_large(value: bytes, what: str) -> Element:
    return Element(value[:KEPT_BYTES], ElementError("too_large", f"the message has {what}"))


def parse(raw: bytes) -> Any:
    """The JSON document in the bytes, parsed leniently, or the error that explains its absence."""
    try:
        return parse_json(raw)
    except JSONError as error:
        return ElementError("not_json", str(error))
