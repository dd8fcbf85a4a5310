"""The fast path: a compiled kernel that reads plain events from bytes into columns.

A plain message is one event in the native format, whose values have the right types, none of which
may stand for no value, whose `messages` are plain (`fast_messages.py`), and whose unknown fields
hold neither objects nor arrays. The kernel leaves every other message to `decoder.Decoder`,
whatever the reason.

Why a hand-written JSON kernel stays: it reads an event with its columns in 3 µs; through msgspec
and Python objects the same takes 9 µs. The price is a second decoder. Both must agree bit for bit,
which `tests/unit/requests/test_columns.py` and the decode fuzzer check.

In all kernels here:

- `data` is `(size,) uint8`, the messages and `PADDING`. `at` and `end` are uint64 byte offsets in
  it. An offset of 0 as a result means "not plain".
- `field` is the number of a field, uint64, and `keys` is `(len(HASH_KINDS), 2) uint64`.
- `out` is a `ParsedEvents`, `i` its row (int64), and `o` the offset in `out.text` (uint64) where
  the next part begins.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.kernels.bits import U, inner, load_bytes
from monitor.kernels.jit import jit
from monitor.requests.fast_messages import (
    RESERVED,
    SMALLEST_PART,
    finish_parts,
    may_be_no_value,
    read_messages,
    reserve_parts,
)
from monitor.requests.hashing import HASH_KINDS, HASHED_FIELDS, NETWORK, PART_KEY, hash_text
from monitor.requests.json_literals import (
    is_digit,
    name_words,
    parse_number,
    parse_string,
    read_name,
    simple_string_end,
    skip_blanks,
    skip_number,
    to_float,
    words_of,
)
from monitor.requests.parsing.fields import MAX_COUNT

# Fields by how they are processed. HASHED_FIELDS is also the order of the columns of hashes.
NAMED_FIELDS = ("api_key", "account", "payment", "end_user")  # pseudonyms are made of their texts
_STRINGS = (*HASHED_FIELDS, "country", "prompt", "api_key")
_INTEGERS = (
    *("input_tokens", "output_tokens", "max_tokens", "turns", "status", "cached_tokens"),
    *("asn", "latency_ms", "n", "tools"),
)
_COUNTS = U(6)  # the first integers are columns of `ParsedEvents.counts`
_NAMES = (*_STRINGS, *_INTEGERS, "temperature", "ts", "logprobs", "messages")
_SYSTEM = U(PART_KEY)
_IP, _PROMPT, _API_KEY, _TURNS, _TS, _LOGPROBS, _MESSAGES = (
    U(_NAMES.index(name))
    for name in ("ip", "prompt", "api_key", "turns", "ts", "logprobs", "messages")
)
_HASHED_END, _STRINGS_END, _INTEGERS_END = (
    U(len(names)) for names in (HASHED_FIELDS, _STRINGS, _STRINGS + _INTEGERS)
)
_OTHER = U(len(_NAMES))
_NOT_NAMED = len(NAMED_FIELDS)
_NAMED = np.array(
    [NAMED_FIELDS.index(name) if name in NAMED_FIELDS else _NOT_NAMED for name in _STRINGS]
)
_REQUIRED = U(1) << _TS | U(1) << _API_KEY
_NEVER_NULL = _REQUIRED | U(1) << _TURNS

_LONGEST_NAME = U(16)  # bytes: the first and last eight of them identify every field
_SLOT_SHIFT = U(57)  # leaves the highest 7 bits
_NULL, _TRUE, _FALSE = (U(int.from_bytes(x, "little")) for x in (b"null", b"true", b"false"))
_FOUR_BYTES, _FIVE_BYTES = U(0xFFFFFFFF), U(0xFFFFFFFFFF)


class ParsedEvents(NamedTuple):
    """Output of the kernel for n messages. Rows that are not plain hold arbitrary values.

    The parts of an event are its system prompt, its prompt and those of its messages.

    Attributes:
        plain: `(n,) bool`, whether the message is a plain event.
        ts: `(n,) float64`, epoch seconds.
        counts: `(n, 6) int64`, input tokens, output tokens, largest output allowed in tokens,
            turns, status, and cached input tokens; 0 if absent.
        hashes: `(n, len(HASH_KINDS)) uint64`, in the order of HASH_KINDS; 0 if absent only.
        names: `(n, len(NAMED_FIELDS), 2) int64`, byte offsets in the messages where each text
            begins and ends; both 0 if absent.
        conversation: `(n,) bool`, whether it has messages with any text.
        ranges: `(n, 2) int64`, index of the first part of each event, and of the last plus one.
        places: `(p, 2) int64`, byte offsets in `text` where each part begins and ends.
        kinds: `(p,) uint8`, kind of each part, plus LAST_TURN for those of the last turn.
        part_hashes: `(p,) uint64`, keyed hash of each part.
        turns: `(p,) int64`, number of the message of each part, 0 for a part of no message.
        text: `(size,) uint8`, the parts.
    """

    plain: npt.NDArray[np.bool_]
    ts: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint64]
    names: npt.NDArray[np.int64]
    conversation: npt.NDArray[np.bool_]
    ranges: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.uint8]
    part_hashes: npt.NDArray[np.uint64]
    turns: npt.NDArray[np.int64]
    text: npt.NDArray[np.uint8]

    @classmethod
    def allocate(cls, n: int, size: int) -> ParsedEvents:
        """Uninitialised arrays for n messages of `size` bytes in total."""
        parts = RESERVED * n + size // SMALLEST_PART
        return cls(
            np.empty(n, np.bool_),
            np.empty(n, np.float64),
            np.empty((n, int(_COUNTS)), np.int64),
            np.empty((n, len(HASH_KINDS)), np.uint64),
            np.empty((n, len(NAMED_FIELDS), 2), np.int64),
            np.empty(n, np.bool_),
            np.empty((n, 2), np.int64),
            np.empty((parts, 2), np.int64),
            np.empty(parts, np.uint8),
            np.empty(parts, np.uint64),
            np.empty(parts, np.int64),
            np.empty(size + 32, np.uint8),
        )


@inner
def _slot(first: Any, last: Any, multiplier: Any) -> Any:
    """The slot, 0 to 127, of a name in the table of names. All are uint64, see `name_words`."""
    return ((first ^ last * U(3)) * multiplier) >> _SLOT_SHIFT


def _perfect_hash() -> tuple[np.uint64, npt.NDArray[np.uint64]]:
    """A multiplier without collisions, and its table of names, `(128, 3) uint64`: both words of
    each name and the number of its field."""
    words = np.array([name_words(name) for name in _NAMES], np.uint64)
    draw = np.random.default_rng(1)
    with np.errstate(over="ignore"):
        while True:
            multiplier = draw.integers(1 << 63, dtype=np.uint64) | U(1)
            slots = _slot.py_func(words[:, 0], words[:, 1], multiplier)
            if len(set(slots.tolist())) == len(_NAMES):
                break
    table = np.full((128, 3), _OTHER, np.uint64)
    table[slots, :2] = words
    table[slots, 2] = np.arange(len(_NAMES))
    return multiplier, table


_MULTIPLIER, _TABLE = _perfect_hash()


@inner
def _field(data: Any, at: Any, end: Any) -> Any:
    """The number of the field whose name is `data[at:end]`, uint64; `_OTHER` if unknown."""
    if end - at > _LONGEST_NAME:
        return _OTHER
    first, last = words_of(data, at, end)
    slot = _slot(first, last, _MULTIPLIER)
    return _TABLE[slot, 2] if _TABLE[slot, 0] == first and _TABLE[slot, 1] == last else _OTHER


@inner
def _literal_end(data: Any, at: Any, end: Any) -> Any:
    """The offset, uint64, where `null`, `true` or `false` ends; 0 if none of them is at `at`."""
    x = load_bytes(data, at)
    if x & _FOUR_BYTES == _NULL or x & _FOUR_BYTES == _TRUE:
        return at + U(4)
    return at + U(5) if x & _FIVE_BYTES == _FALSE else U(0)


@inner
def _network_end(data: Any, at: Any, end: Any) -> Any:
    """The offset, uint64, where the network part of the address `data[at:end]` ends: after 24 bits
    of an IPv4 address, or 48 bits of an IPv6 address.
    """
    dot, colons, third = U(0), 0, end
    for i in range(at, end):
        if data[i] == 46:
            dot = U(i)
        elif data[i] == 58:
            colons += 1
            third = U(i) if colons == 3 else third
    return dot if dot else third


@inner
def _write_hash(field: Any, data: Any, at: Any, end: Any, keys: Any, i: int, out: Any) -> None:
    """Write the hash of a field's text, and of its network if it is an address."""
    out.hashes[i, field] = hash_text(data, at, end, keys, field)
    if field == _IP:
        end = _network_end(data, at, end)
        out.hashes[i, NETWORK] = hash_text(data, at, end, keys, NETWORK) if end > at else U(0)


@inner
def _needs_cleaning(data: Any, at: Any, end: Any) -> Any:
    """Whether an API key, `data[at:end]`, may have blanks or a scheme around it."""
    scheme = end - at > U(6) and data[at + U(6)] == 32
    return end == at or data[at] == 32 or data[end - U(1)] == 32 or scheme


@inner
def _read_text(
    field: Any, data: Any, at: Any, end: Any, keys: Any, i: int, o: Any, out: Any
) -> Any:
    """Read a string value that begins at `at`, after its opening quote.

    Returns:
        Offset after the closing quote (0: not plain), and offset in `out.text` of the next part.
    """
    text = out.text
    if field in (_PROMPT, _SYSTEM):
        at, after = parse_string(data, at, end, text, o)
        part = out.ranges[i, 0] + (field == _PROMPT)
        out.places[part, 0], out.places[part, 1] = o, after
        if at and after > o:
            out.part_hashes[part] = hash_text(text, o, after, keys, _SYSTEM)
        return U(0) if may_be_no_value(text, o, after) else at, after
    begin, named = at, _NOT_NAMED
    if field < _STRINGS_END:
        named = _NAMED[field]
    quote = simple_string_end(data, at, end)
    if quote:
        at = quote + U(1)
        if field != _OTHER and may_be_no_value(data, begin, quote):
            return U(0), o
        if field < _HASHED_END and quote > begin:
            _write_hash(field, data, begin, quote, keys, i, out)
    else:
        at, after = parse_string(data, begin, end, text, o)
        if field != _OTHER and at and may_be_no_value(text, o, after):
            return U(0), o
        if field < _HASHED_END and after > o:
            _write_hash(field, text, o, after, keys, i, out)
        if named != _NOT_NAMED and at - U(1) - begin != after - o:  # it has escapes
            return U(0), o
    if named != _NOT_NAMED and at:
        out.names[i, named, 0], out.names[i, named, 1] = begin, at - U(1)
        if field == _API_KEY and _needs_cleaning(data, begin, at - U(1)):
            return U(0), o
    return at, o


@inner
def _read_value(
    field: Any, data: Any, at: Any, end: Any, keys: Any, i: int, o: Any, out: Any
) -> Any:
    """Read the value of a field.

    Returns:
        Offset after the value (0: not plain), and offset in `out.text` of the next part.
    """
    byte = U(data[at])
    if byte == U(34):
        if field < _STRINGS_END or field == _OTHER:
            return _read_text(field, data, at + U(1), end, keys, i, o, out)
        return U(0), o
    if field == _OTHER:
        after = _literal_end(data, at, end)
        return after if after else skip_number(data, at, end), o
    if byte == U(110):
        never = (_NEVER_NULL >> field) & U(1)
        return U(0) if never else _literal_end(data, at, end), o
    if field == _LOGPROBS:
        return _literal_end(data, at, end), o
    if field == _MESSAGES:
        out.conversation[i] = True
        return read_messages(data, at, end, keys, i, o, out)
    if field < _STRINGS_END or not is_digit(byte):
        return U(0), o
    digits, fraction, after = parse_number(data, at, end)
    if field < _INTEGERS_END:
        if fraction or digits > U(MAX_COUNT):
            return U(0), o
        if field - _STRINGS_END < _COUNTS:
            out.counts[i, field - _STRINGS_END] = digits
    elif field == _TS and after:
        out.ts[i] = to_float(digits, fraction)
    return after, o


@inner
def _read_event(data: Any, at: Any, end: Any, keys: Any, i: int, o: Any, out: Any) -> Any:
    """Read the message `data[at:end]`.

    Returns:
        Whether the message is plain, and offset in `out.text` of the next part.
    """
    seen = U(0)
    at = skip_blanks(data, at, end)
    if at >= end or data[at] != 123:
        return False, o
    while True:
        begin, after, at = read_name(data, at, end)
        if not at:
            return False, o
        field = _field(data, begin, after)
        if field != _OTHER:
            if (seen >> field) & U(1):
                return False, o
            seen |= U(1) << field
        at, o = _read_value(field, data, at, end, keys, i, o, out)
        if not at:
            return False, o
        at = skip_blanks(data, at, end)
        if at >= end:
            return False, o
        if data[at] == 125:
            break
        if data[at] != 44:
            return False, o
    return skip_blanks(data, at + U(1), end) == end and seen & _REQUIRED == _REQUIRED, o


@jit
def parse_events(
    data: Any,
    starts: Any,
    ends: Any,
    keys: Any,
    earliest: float,
    latest: float,
    max_bytes: int,
    out: Any,
) -> int:
    """Read n messages.

    Args:
        starts, ends: `(n,) int64`, byte offset of each message.
        earliest, latest: bounds of `ts`, epoch seconds within the years 1987 and 5138.
        max_bytes: largest message that is read.
        out: a `ParsedEvents` of n rows.

    Returns:
        The number of parts.
    """
    o, parts = U(0), 0
    for i in range(len(starts)):
        out.counts[i, :] = 0
        out.names[i, :, :] = 0
        out.hashes[i, :] = 0
        out.conversation[i] = False
        reserve_parts(i, parts, out)
        ok, after = False, o
        if 0 < ends[i] - starts[i] <= max_bytes:
            ok, after = _read_event(data, U(starts[i]), U(ends[i]), keys, i, o, out)
        if ok and earliest <= out.ts[i] <= latest and finish_parts(i, out):
            out.plain[i] = True
            parts = out.ranges[i, 1]
            o = after
        else:
            out.plain[i] = False
            out.names[i, :, :] = 0
            out.ranges[i, :] = parts
    return parts
