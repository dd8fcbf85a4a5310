"""Text framings: UTF-16 and UTF-32, byte order marks, base64, and several documents in one value.

>>> to_utf8('{"ts": 1}'.encode("utf-16"))
b'{"ts": 1}'
>>> split_documents(b'{"ts": 1}{"ts": 2}')
[b'{"ts": 1}', b'{"ts": 2}']
"""

from __future__ import annotations

import codecs
import json
from base64 import b64decode
from re import compile as compiled

RECORD_SEPARATOR = b"\x1e"  # before each document of a JSON text sequence (RFC 7464)

# A UTF-32 mark begins with a UTF-16 mark: the longer ones come first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_STARTS = b"{[ \t\r\n\x1e"  # JSON documents and sequences of them begin with one of these
_BLANKS = compiled(r"[\s\x1e,]*")
_BASE64_STARTS = (b"eyJ", b"ewo", b"W3s", b"H4sI", b"KLUv")  # of `{"`, `{`, `[{`, gzip and zstd
_decode = json.JSONDecoder().raw_decode


def to_utf8(value: bytes) -> bytes:
    """The text as UTF-8 without a byte order mark.

    UTF-16 and UTF-32 without a mark are recognised by the zeros beside the first character of
    JSON (RFC 4627, section 3).
    """
    for mark, marked in _MARKS:
        if value.startswith(mark):
            return _recoded(value[len(mark) :], marked)
    encoding = _encoding_without_mark(value)
    return value if encoding is None else _recoded(value, encoding)


def _recoded(value: bytes, encoding: str) -> bytes:
    return value if encoding == "utf-8" else value.decode(encoding, "replace").encode()


def _encoding_without_mark(value: bytes) -> str | None:
    if 0 not in value[:2]:
        return None
    first, second = (*value[:8], *[1] * 8)[:4], (*value[:8], *[1] * 8)[4:8]
    if first[0] in _STARTS:
        return "utf-32-le" if first[1:] == (0, 0, 0) else "utf-16-le"
    if first[:3] == second[:3] == (0, 0, 0) and first[3] in _STARTS:
        return "utf-32-be"
    return "utf-16-be" if first[0] == 0 == first[2] and first[1] in _STARTS else None


def from_base64(value: bytes) -> bytes | None:
    """What a base64 value holds; `None` if it holds neither JSON nor a compressed value."""
    text = value.strip().strip(b'"')
    if not text.startswith(_BASE64_STARTS):
        return None
    try:
        return b64decode(b"".join(text.split()), validate=True)
    except ValueError:
        return None


def split_documents(value: bytes, *, whole: bool = False) -> list[bytes] | None:
    """The documents of a value that holds several, one after the other, separated or not.

    If the value ends in mid-document, the rest is the last of them. Documents that each follow a
    record separator need not be complete.

    Args:
        whole: whether nothing but complete documents will do.

    Returns:
        `None` if fewer than two documents are complete.
    """
    if value.lstrip().startswith(RECORD_SEPARATOR):
        return [each for part in value.split(RECORD_SEPARATOR) if (each := part.strip())]
    text = value.decode("utf-8", "replace")
    found: list[bytes] = []
    at = _BLANKS.match(text).end()  # type: ignore[union-attr]
    while at < len(text):
        try:
            _, end = _decode(text, at)
        except (ValueError, RecursionError):
            end = len(text)
            if whole or len(found) < 2:
                return None
        found.append(text[at:end].encode("utf-8", "replace"))
        at = _BLANKS.match(text, end).end()  # type: ignore[union-attr]
    return found if len(found) > 1 else None
