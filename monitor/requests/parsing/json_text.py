"""JSON as logs really hold it: what strict parsers refuse is repaired where its meaning is clear.

A client must not be able to hide its requests with a body that strict parsers refuse. So values
that are too deep, too long or no JSON become null, and everything around them is read. A text that
is cut off is read up to where it ends.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from monitor.requests.parsing.nesting import shallow

MAX_DIGITS = 400  # characters of a number; a longer one is read as null

_decode = msgspec.json.Decoder().decode
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+("|\\?)|[][{}:,]|[^][{}:,"\s]++', re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_LITERALS = ("null", "true", "false", "NaN", "Infinity", "-Infinity")
_ESCAPE = re.compile(r'\\(?:(["\\/bfnrt]|u[0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.?))', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_CLOSING = {"{": "}", "[": "]"}


class JSONError(ValueError):
    """Why bytes are not JSON."""


def parse(raw: bytes) -> Any:
    """The JSON document in the bytes, also with NaN, lone surrogates, invalid UTF-8, numbers of
    any length and any depth.

    Raises:
        JSONError: if the bytes are not JSON.
    """
    try:
        return _decode(raw)
    except (ValueError, RecursionError):
        pass
    try:
        return _loads(raw.decode("utf-8", "replace"))
    except RecursionError:
        return _loads(shallow(raw).decode("utf-8", "replace"))


def parse_text(text: str) -> Any:
    """The object or array that a string holds as JSON, repaired if needed; else `None`."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return parse(text.encode("utf-8", "replace"))
    except JSONError:
        return parse_shallow(text)


def parse_shallow(text: str) -> Any:
    """The same, but nothing deeper than `nesting.MAX_DEPTH`; takes longer."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return repair(text.encode("utf-8", "replace"))
    except JSONError:
        return None


def repair(raw: bytes) -> Any:
    """The object or array in bytes that are almost JSON.

    Values that are no JSON and values that are too deep become null, invalid escapes stand for
    themselves, and what is open at the end is closed.

    Raises:
        JSONError: if the bytes are not an object or an array.
    """
    text = shallow(raw).decode("utf-8", "replace")
    try:
        return _loads(text)
    except JSONError:
        pass
    return _loads(_completed(text))


def _completed(text: str) -> str:
    """The text as valid JSON, as far as its tokens allow."""
    out: list[str] = []
    stack: list[str] = []
    previous = ""
    for match in _TOKEN.finditer(text):
        token = match[0]
        mark = token[0]
        if previous and not stack:
            raise JSONError(f"a second document begins at character {match.start()}")
        if mark in "{[":
            stack.append(mark)
        elif mark in "}]":
            if not stack or _CLOSING[stack.pop()] != mark:
                raise JSONError(f"malformed JSON at character {match.start()}")
            if previous == ":":
                out.append("null")
            elif previous == ",":
                out.pop()
        elif mark == '"':
            token = _string(token, closed=match[1] == '"')
        elif mark == "," and previous == ":":
            out.append("null")
        elif mark not in ":,":
            token = _literal(token)
        out.append(token)
        previous = mark
    if stack:
        _close(out, stack, previous)
    elif previous not in ("}", "]"):
        raise JSONError("it is neither an object nor an array")
    return "".join(out)


def _close(out: list[str], stack: list[str], previous: str) -> None:
    """Complete a text that ends inside the containers of the stack."""
    if stack[-1] == "{":
        is_name = previous == '"' and (len(out) < 2 or out[-2] in ("{", ","))
        if previous == ":":
            out.append("null")
        elif is_name:
            out.append(":null")
    if previous == ",":
        out.pop()
    out.extend(_CLOSING[mark] for mark in reversed(stack))


def _string(token: str, closed: bool) -> str:
    if not closed:
        token = re.sub(r"\\(?:u[0-9a-fA-F]{0,3})?$", "", token) if _open_escape(token) else token
        token += '"'
    return _ESCAPE.sub(_escape, token) if "\\" in token else token


def _open_escape(token: str) -> bool:
    """Whether a string that is cut off ends inside an escape."""
    match = re.search(r"(\\+)(?:u[0-9a-fA-F]{0,3})?$", token)
    return match is not None and len(match[1]) % 2 == 1


def _escape(match: re.Match[str]) -> str:
    valid, byte, other = match.groups()
    if valid is not None:
        return match[0]
    return f"\\u00{byte}" if byte is not None else f"\\\\{other}"


def _literal(token: str) -> str:
    known = token in _LITERALS or (len(token) <= MAX_DIGITS and _NUMBER.fullmatch(token))
    return token if known else "null"


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= MAX_DIGITS else None


def _loads(text: str) -> Any:
    try:
        document = json.loads(text, parse_int=_integer, strict=False)
    except json.JSONDecodeError as error:
        raise JSONError(f"malformed JSON at character {error.pos}") from None
    # A lone surrogate cannot be encoded as UTF-8 again: replace it.
    again = json.dumps(document, ensure_ascii=False)
    if _SURROGATE.search(again) is None:
        return document
    return json.loads(again.encode("utf-8", "replace"))
