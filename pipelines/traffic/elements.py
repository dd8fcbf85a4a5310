"""Split recorded text into elements: the bytes of one request, or of one message, each.

The content decides, not the name: JSON lines; arrays, pretty-printed objects and objects in a row
without newlines, of any size; records that begin with the separator of RFC 7464. UTF-16 and UTF-32
become UTF-8 first. An element is handed on as it stands, for the decoder to read or reject. One
above the message limit is cut one byte above it, and the decoder rejects it.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from monitor.requests.framing.elements import MAX_BYTES
from pipelines.traffic.unpack import PIECE, Chunks, DamagedError

BATCH = 2_000  # elements
_RECORD_SEPARATOR = b"\x1e"  # RFC 7464
_BLANK = b" \t\r\n"
_LINES = 50  # of the beginning, which tell JSON lines from other JSON

# The next bracket that is not in a string. A string ends with its line at the latest.
_BRACKET = re.compile(
    rb'[^"{}\[\]]*+(?:"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+(?:"|\\?\n)[^"{}\[\]]*+)*+([{}\[\]])'
)


class Elements(NamedTuple):
    """Elements in a row.

    Attributes:
        values: their bytes; some may be blank.
        lines: the line on which each begins, from 1; of RFC 7464, the record.
    """

    values: list[bytes]
    lines: Sequence[int]


def json_elements(
    head: bytes, chunks: Chunks, max_elements: int = BATCH
) -> tuple[str, Iterator[Elements]]:
    """The name of a format of JSON, and the elements of a text in it.

    Args:
        head: the beginning of the text, long enough for `is_telling`.
        chunks: the whole text in UTF-8.
        max_elements: in a batch.

    Raises:
        DamagedError: later; the last object or array has no end.
    """
    start = head.lstrip(_BLANK)[:1]
    if start == _RECORD_SEPARATOR:
        records = split_lines(chunks, max_elements, _RECORD_SEPARATOR)
        stripped = (Elements([each.strip() for each in values], at) for values, at in records)
        return "RFC 7464", stripped
    if start in (b"{", b"[") and not _are_lines(head):
        name = "a JSON array" if start == b"[" else "JSON objects in a row"
        return name, split_documents(chunks, max_elements)
    return "JSON lines", split_lines(chunks, max_elements)


def is_telling(head: bytes) -> bool:
    """Whether the beginning of a text tells its format: it holds a whole line or document."""
    line, newline, _ = head.lstrip(_BLANK).partition(b"\n")
    is_json = line[:1] in (b"{", b"[")
    return bool(newline and (not is_json or _is_document(line))) or len(head) >= PIECE


# Encoding

_BOMS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_ASCII = rb"[\t\r\n -~]"
_WITHOUT_BOM = {
    rb"(%b\0\0\0){2}" % _ASCII: "utf-32-le",
    rb"(\0\0\0%b){2}" % _ASCII: "utf-32-be",
    rb"(%b\0){2}" % _ASCII: "utf-16-le",
    rb"(\0%b){2}" % _ASCII: "utf-16-be",
}


def encoding_of(head: bytes) -> str | None:
    """The encoding of a text by its first 8 bytes; `None` for UTF-8 and what is like it."""
    for bom, name in _BOMS.items():
        if head.startswith(bom):
            return name
    return next((name for form, name in _WITHOUT_BOM.items() if re.match(form, head)), None)


def to_utf8(chunks: Chunks, encoding: str) -> Chunks:
    """Encode a text as UTF-8; what cannot be decoded becomes U+FFFD.

    Raises:
        DamagedError: the text ends within a character.
    """
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for chunk in chunks:
        yield decoder.decode(chunk).encode("utf-8", "replace")
    if decoder.getstate()[0]:
        raise DamagedError(f"{encoding.upper()} text is cut off")


# JSON lines


def split_lines(
    chunks: Chunks, max_elements: int = BATCH, newline: bytes = b"\n"
) -> Iterator[Elements]:
    """Lines without newlines, each as soon as it is read."""
    open_line, number = bytearray(), 1
    for chunk in chunks:
        first, *others = chunk.split(newline)
        open_line += first[: MAX_BYTES + 1 - len(open_line)]
        if others:
            lines = [bytes(open_line), *others]
            open_line = bytearray(lines.pop())
            for start in range(0, len(lines), max_elements):
                batch = lines[start : start + max_elements]
                yield Elements(batch, range(number, number + len(batch)))
                number += len(batch)
    if open_line:
        yield Elements([bytes(open_line)], [number])


def _are_lines(head: bytes) -> bool:
    """Whether text that begins like JSON is JSON lines, some of them broken perhaps."""
    lines = [line for line in head.split(b"\n") if line.strip()]
    if len(lines) > 1 and not head.endswith(b"\n"):
        lines.pop()  # it may go on
    if len(lines) == 1 and lines[0].lstrip()[:1] == b"[":
        return False  # an array of any length on one line
    lines = lines[:_LINES]
    whole = sum(map(_is_document, lines))
    return 2 * whole >= len(lines) or (whole > 0 and not _begins_with_json(head))


def _is_document(line: bytes) -> bool:
    """Whether a line is one object or array, by its brackets."""
    if line.lstrip()[:1] not in (b"{", b"["):
        return False
    depth = at = 0
    while found := _BRACKET.match(line, at):
        at = found.end()
        depth += 1 if found[1] in (b"{", b"[") else -1
        if not depth:
            return not line[at:].strip()
    return False


def _begins_with_json(head: bytes) -> bool:
    try:
        for elements in split_documents(iter([head]), 1):
            json.loads(elements.values[0])
            return True
    except (DamagedError, ValueError, RecursionError):
        pass
    return False


# Other JSON


def split_documents(chunks: Chunks, max_elements: int = BATCH) -> Iterator[Elements]:
    """Objects in a row, with or without anything between them, and the elements of arrays.

    Only brackets and strings are looked at. Text that stands between objects, such as a number, is
    an element of its own.

    Raises:
        DamagedError: the last object or array has no end.
    """
    text, at = b"", 0  # the text not yet used, and where the search goes on
    depth = base = 0  # open brackets, and how many of them are an array of elements
    start = 0  # of the element, or of the text before it
    long = b""  # the beginning of an element above the limit
    line, counted = 1, 0  # the line at `counted`
    values: list[bytes] = []
    lines: list[int] = []

    def add(value: bytes) -> None:
        nonlocal line, counted
        if not value.strip(b" \t\r\n,\x1e"):
            return
        begin = start + len(value) - len(value.lstrip(b" \t\r\n,\x1e"))
        line += text.count(b"\n", counted, begin)
        counted = begin
        values.append(value if value[:1] in (b"{", b"[") else value.strip(b" \t\r\n,\x1e"))
        lines.append(line)

    for chunk in chunks:
        text += chunk
        while found := _BRACKET.match(text, at):
            at = found.end()
            if found[1] in (b"{", b"["):
                if depth == base:
                    add(text[start : at - 1])
                    start = at - 1
                    if depth == 0 and found[1] == b"[":
                        base, start = 1, at
                depth += 1
                continue
            depth -= 1
            if depth < base:  # the array ends, or there is a bracket too many
                add(text[start : at - 1])
                depth = base = 0
                start = at
            elif depth == base:
                add(long or text[start : min(at, start + MAX_BYTES + 1)])
                start, long = at, b""
            if len(values) >= max_elements:
                yield Elements(values, lines)
                values, lines = [], []
        if values:
            yield Elements(values, lines)
            values, lines = [], []
        if depth > base and at - start > MAX_BYTES:
            long = long or text[start : start + MAX_BYTES + 1]
            start = at
        if len(text) - at > 2 * MAX_BYTES:
            raise DamagedError(f"JSON has a string without an end after line {line}")
        line += text.count(b"\n", counted, start)
        text, at, start, counted = text[start:], at - start, 0, 0
    if depth > base:
        line += text.count(b"\n", counted, start)
        raise DamagedError(f"object that begins on line {line} has no end")
    add(text[start:])
    if values:
        yield Elements(values, lines)
    if base:
        raise DamagedError("array has no end")
