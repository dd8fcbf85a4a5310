"""The parts of plain events: the kernels that read `messages` from bytes.

Plain messages are a list of objects with a `role` and a `content`, and nothing else. The role is
one of ROLES, and the content a string or a list of objects `{"type": "text", "text": …}`. No text
may be JSON, base64 or a data URL, or stand for no value. All other messages are read by `turns.py`.
Both ways must give the same parts.

In all kernels here:

- `data` is `(size,) uint8`, the messages and `PADDING`. `at` and `end` are uint64 byte offsets in
  it. An offset of 0 as a result means "not plain".
- `keys` is `(len(HASH_KINDS), 2) uint64`.
- `out` is a `ParsedEvents`, `i` its row (int64), and `o` the offset in `out.text` (uint64) where
  the next part begins. `out.ranges[i]` is the range of the row's parts so far.
"""

from __future__ import annotations

import string
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.kernels.bits import U, character, inner, load_bytes
from monitor.requests.hashing import PART_KEY, hash_text
from monitor.requests.json_literals import (
    name_words,
    parse_string,
    read_name,
    simple_string_end,
    skip_blanks,
    words_of,
)
from monitor.requests.parsing.fields import NO_VALUE
from monitor.requests.parts import LAST_TURN
from monitor.requests.turns import ASSISTANT, MAX_PARTS, SYSTEM, TOOL, USER

RESERVED = 2  # parts of each event: the first is its system prompt, the second its prompt
SMALLEST_PART = 16  # bytes of a part of messages with the names around it, at least

ROLES = {
    "user": USER,
    "assistant": ASSISTANT,
    "system": SYSTEM,
    "developer": SYSTEM,
    "tool": TOOL,
}
_NO_KIND = 255
_ROLE_WORDS = np.array([name_words(role) for role in ROLES], np.uint64)
_ROLE_KINDS = np.array(list(ROLES.values()), np.uint8)
_ROLE, _CONTENT, _TYPE, _TEXT = (
    U(name_words(name)[0]) for name in ("role", "content", "type", "text")
)

_MARK_SIZES = 32  # bytes: more than any text that stands for no value
_SPACES = np.array([code for code in range(0x10000) if chr(code).isspace()], np.uint64)
_BASE64_SIZE = U(16)  # characters: the least that is read as base64
_DATA_URL, _FIVE_BYTES = U(int.from_bytes(b"data:", "little")), U(0xFFFFFFFFFF)
_LOWER_CASE = U(0x2020202020)


def _mark_table() -> npt.NDArray[np.bool_]:
    """Sizes and first bytes of the texts that stand for no value, `(_MARK_SIZES, 256) bool`."""
    table = np.zeros((_MARK_SIZES, 256), np.bool_)
    for text in filter(None, NO_VALUE):
        table[len(text), ord(text[0])] = True
    return table


def _base64_table() -> npt.NDArray[np.bool_]:
    """Which bytes are digits in base64, `(256,) bool`."""
    table = np.zeros(256, np.bool_)
    table[list((string.ascii_letters + string.digits + "+/_-").encode())] = True
    return table


_MARKS, _BASE64 = _mark_table(), _base64_table()
_MARK_WORDS = np.array([name_words(text) for text in sorted(NO_VALUE)], np.uint64)


@inner
def may_be_no_value(data: Any, at: Any, end: Any) -> Any:
    """Whether the text `data[at:end]` may stand for no value, and is not empty."""
    found, size = False, end - at
    if size < U(_MARK_SIZES) and _MARKS[size, data[at]]:
        first, last = words_of(data, at, end)
        for mark in range(len(_MARK_WORDS)):
            found |= _MARK_WORDS[mark, 0] == first and _MARK_WORDS[mark, 1] == last
    return found


@inner
def _is_space(code: Any) -> Any:
    """Whether a code point, uint64, is white space."""
    found = False
    for space in _SPACES:
        found |= code == space
    return found


@inner
def _may_be_encoded(text: Any, at: Any, end: Any) -> Any:
    """Whether the text `text[at:end]` may be base64, a data URL or JSON."""
    if (load_bytes(text, at) | _LOWER_CASE) & _FIVE_BYTES == _DATA_URL:
        return True
    digits = at
    while digits < end and _BASE64[text[digits]]:
        digits += U(1)
        if digits - at == _BASE64_SIZE:
            return True
    while at < end:
        code, size = character(text, at)
        if not _is_space(code):
            return code == U(91) or code == U(123)
        at += size
    return False


@inner
def _add_part(
    data: Any, at: Any, end: Any, keys: Any, i: int, o: Any, turn: int, out: Any
) -> tuple[Any, Any]:
    """Add the text of a string as a part, unless it is empty.

    Args:
        at: offset after the opening quote.
        turn: number of its message.

    Returns:
        Offset after the closing quote (0: not plain), and offset in `out.text` of the next part.
    """
    text, part = out.text, out.ranges[i, 1]
    at, after = parse_string(data, at, end, text, o)
    if at == U(0) or after == o:
        return at, o
    full = part - out.ranges[i, 0] >= MAX_PARTS
    if full or may_be_no_value(text, o, after) or _may_be_encoded(text, o, after):
        return U(0), o
    out.places[part, 0], out.places[part, 1] = o, after
    out.part_hashes[part] = hash_text(text, o, after, keys, PART_KEY)
    out.turns[part] = turn
    out.ranges[i, 1] = part + 1
    return at, after


@inner
def _next(data: Any, at: Any, end: Any, closing: int) -> tuple[Any, Any]:
    """What follows an entry of an object or array: the offset of the comma or of the closing mark
    (0: neither), and whether it is the latter."""
    at = skip_blanks(data, at, end)
    if at >= end:
        return U(0), False
    closed = data[at] == closing
    return at if closed or data[at] == 44 else U(0), closed


@inner
def _read_text_object(
    data: Any, at: Any, end: Any, keys: Any, i: int, o: Any, turn: int, out: Any
) -> tuple[Any, Any]:
    """Read an entry of a content that is a list; as `_add_part`, but `at` is that of its brace."""
    typed, read, closed = False, False, False
    while not closed:
        begin, after, at = read_name(data, at, end)
        if at == U(0) or data[at] != 34 or after - begin != U(4):
            return U(0), o
        name, _ = words_of(data, begin, after)
        if name == _TYPE and not typed:
            typed, begin = True, at + U(1)
            at = simple_string_end(data, begin, end)
            if at - begin != U(4) or words_of(data, begin, at)[0] != _TEXT:
                return U(0), o
            at += U(1)
        elif name == _TEXT and not read:
            read = True
            at, o = _add_part(data, at + U(1), end, keys, i, o, turn, out)
            if at == U(0):
                return U(0), o
        else:
            return U(0), o
        at, closed = _next(data, at, end, 125)
        if at == U(0):
            return U(0), o
    return at + U(1) if typed and read else U(0), o


@inner
def _read_content(
    data: Any, at: Any, end: Any, keys: Any, i: int, o: Any, turn: int, out: Any
) -> Any:
    """Read the content of a message; as `_add_part`, but `at` is the offset of the value."""
    if data[at] == 34:
        return _add_part(data, at + U(1), end, keys, i, o, turn, out)
    closed = False
    if data[at] != 91:
        return U(0), o
    while not closed:
        at = skip_blanks(data, at + U(1), end)
        if at >= end or data[at] != 123:
            return U(0), o
        at, o = _read_text_object(data, at, end, keys, i, o, turn, out)
        if at == U(0):
            return U(0), o
        at, closed = _next(data, at, end, 93)
        if at == U(0):
            return U(0), o
    return at + U(1), o


@inner
def _read_role(data: Any, at: Any, end: Any) -> tuple[Any, Any]:
    """Read the role of a message.

    Returns:
        Offset after the closing quote (0: not plain), and the kind that it means.
    """
    begin = at + U(1)
    at = simple_string_end(data, begin, end)
    if data[begin - U(1)] != 34 or at == U(0) or at - begin > U(16):
        return U(0), _NO_KIND
    first, last = words_of(data, begin, at)
    for k in range(len(_ROLE_KINDS)):
        if _ROLE_WORDS[k, 0] == first and _ROLE_WORDS[k, 1] == last:
            return at + U(1), int(_ROLE_KINDS[k])
    return U(0), _NO_KIND


@inner
def _read_message(
    data: Any, at: Any, end: Any, keys: Any, i: int, o: Any, turn: int, out: Any
) -> tuple[Any, Any]:
    """Read a message; as `_add_part`, but `at` is the offset of its brace."""
    part, kind, read, closed = out.ranges[i, 1], _NO_KIND, False, False
    while not closed:
        begin, after, at = read_name(data, at, end)
        if at == U(0) or after - begin > U(8):
            return U(0), o
        name, _ = words_of(data, begin, after)
        if name == _ROLE and kind == _NO_KIND:
            at, kind = _read_role(data, at, end)
        elif name == _CONTENT and not read:
            read = True
            at, o = _read_content(data, at, end, keys, i, o, turn, out)
        else:
            return U(0), o
        if at == U(0):
            return U(0), o
        at, closed = _next(data, at, end, 125)
        if at == U(0):
            return U(0), o
    if kind == _NO_KIND or not read:
        return U(0), o
    out.kinds[part : out.ranges[i, 1]] = kind
    return at + U(1), o


@inner
def read_messages(
    data: Any, at: Any, end: Any, keys: Any, i: int, o: Any, out: Any
) -> tuple[Any, Any]:
    """Add the parts of the messages whose value begins at `at`.

    Returns:
        Offset after the value (0: not plain), and offset in `out.text` of the next part.
    """
    turn, closed = 0, False
    if data[at] != 91:
        return U(0), o
    while not closed:
        at = skip_blanks(data, at + U(1), end)
        if at >= end or data[at] != 123:
            return U(0), o
        turn += 1
        at, o = _read_message(data, at, end, keys, i, o, turn, out)
        if at == U(0):
            return U(0), o
        at, closed = _next(data, at, end, 93)
        if at == U(0):
            return U(0), o
    return at + U(1), o


@inner
def reserve_parts(i: int, first: int, out: Any) -> None:
    """Begin a row with an empty system prompt and an empty prompt, parts `first` and the next."""
    out.ranges[i, 0], out.ranges[i, 1] = first, first + RESERVED
    for part in range(first, first + RESERVED):
        out.places[part, :] = 0
        out.part_hashes[part] = 0
        out.turns[part] = 0
    out.kinds[first], out.kinds[first + 1] = SYSTEM, USER


@inner
def finish_parts(i: int, out: Any) -> Any:
    """Derive from a row's parts what `decoder.py` and `parts.py` derive from a request's: the
    number of turns, which parts are of the last turn, and the hash of the system prompt. Leave out
    a system prompt or a prompt that the messages repeat.

    Returns:
        Whether the row is plain: it is not if its system prompt is in several parts.
    """
    hashes, kinds, turns = out.part_hashes, out.kinds, out.turns
    begin, end = out.ranges[i, 0], out.ranges[i, 1]
    prompt, messages = begin + 1, begin + RESERVED
    system = hashes[begin]
    out.hashes[i, PART_KEY] = system
    number, counted, systems = 0, 0, 0
    for part in range(messages, end):
        if kinds[part] == USER and turns[part] != counted:
            number, counted = number + 1, turns[part]
        elif kinds[part] == SYSTEM and system == U(0):
            systems += 1
            out.hashes[i, PART_KEY] = hashes[part]
        for given in range(begin, messages):
            if hashes[given] == hashes[part]:
                hashes[given] = 0
    if out.conversation[i]:
        out.counts[i, 3] = number
        out.conversation[i] = end > messages
    if hashes[prompt] == U(0):
        hashes[prompt], kinds[prompt] = hashes[begin], SYSTEM
        out.places[prompt, 0], out.places[prompt, 1] = out.places[begin, 0], out.places[begin, 1]
        hashes[begin] = 0
    begin += (hashes[begin] == U(0)) + (hashes[prompt] == U(0))
    out.ranges[i, 0] = begin
    _mark_last_turn(begin, end, kinds, turns)
    return systems <= 1


@inner
def _mark_last_turn(begin: int, end: int, kinds: Any, turns: Any) -> None:
    """Add LAST_TURN to the kinds of the client's last turn; without one, of the last system prompt.

    Args:
        begin, end: range of the parts.
        kinds, turns: see `ParsedEvents`.
    """
    client, last = False, 0
    for part in range(begin, end):
        if kinds[part] != SYSTEM and kinds[part] != ASSISTANT:
            client, last = True, turns[part]
        elif kinds[part] == SYSTEM and not client:
            last = turns[part]
    for part in range(begin, end):
        spoken = kinds[part] != ASSISTANT if client else kinds[part] == SYSTEM
        if turns[part] == last and spoken and (kinds[part] != SYSTEM or not client):
            kinds[part] += LAST_TURN
