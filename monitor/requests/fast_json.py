"""The kernel that reads plain events: bytes of messages in, columns out, no object in between.

Plain is a message that is one event in the native format, without `messages`, whose values are of
the types they should be and whose other fields hold neither objects nor arrays. All else is
refused untouched, whatever the reason, and goes to `events.Decoder`: what is accepted here gives
what it would have given there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.kernels.bits import U, hash_bytes, load, mix
from monitor.kernels.bits import jit as inner
from monitor.kernels.jit import jit
from monitor.requests.json_literals import blank, is_digit, number, plain, real, skip_number, string
from monitor.requests.mappings import LARGEST_COUNT

# Fields by what becomes of them. The first ones are hashed, and what is hashed comes in this order.
SENT = ("ip", "end_user", "user_agent", "system")
HASHED = (*SENT, "id", "model", "payment", "tls_fingerprint")
NETWORK = len(HASHED)  # the column of hashes behind them
_STRINGS = (*HASHED, "account", "country", "prompt", "api_key")
_COUNTS = (
    *("input_tokens", "output_tokens", "max_tokens", "turns"),
    *("asn", "status", "latency_ms", "n", "tools"),
)
_NAMES = (*_STRINGS, *_COUNTS, "temperature", "ts", "logprobs", "messages")
_IP, _PROMPT, _API_KEY, _TURNS, _TEMPERATURE, _TS, _LOGPROBS, _MESSAGES = (
    U(_NAMES.index(name))
    for name in ("ip", "prompt", "api_key", "turns", "temperature", "ts", "logprobs", "messages")
)
_IS_HASHED, _IS_STRING, _IS_COUNT = (U(len(x)) for x in (HASHED, _STRINGS, _STRINGS + _COUNTS))
_OTHER = U(len(_NAMES))
_REQUIRED = U(1) << _TS | U(1) << _API_KEY
_NEVER_NULL = _REQUIRED | U(1) << _TURNS

_LONGEST = U(16)  # bytes of a field's name: two words tell all of them apart
_SLOT = U(57)  # the highest 7 bits
_NULL, _TRUE, _FALSE = (U(int.from_bytes(x, "little")) for x in (b"null", b"true", b"false"))
_FOUR, _FIVE = U(0xFFFFFFFF), U(0xFFFFFFFFFF)


class Found(NamedTuple):
    """What the kernel writes of n messages; of those that are not plain, anything.

    Attributes:
        plain: `(n,) bool`, whether a message is a plain event.
        ts: `(n,) float64`.
        counts: `(n, 4) int64`, tokens of input, of output and allowed of it, and turns; 0 if
            absent.
        hashes: `(n, len(HASHED) + 1) uint64`, of the fields in HASHED and of the address's
            network; never 0; 0 if absent.
        api_key: `(n, 2) int64`, where in the messages it begins and ends.
        prompt: `(n, 2) int64`, where in the text it begins and ends.
        text: `(size,) uint8`, the prompts.
    """

    plain: npt.NDArray[np.bool_]
    ts: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint64]
    api_key: npt.NDArray[np.int64]
    prompt: npt.NDArray[np.int64]
    text: npt.NDArray[np.uint8]


def room(n: int, size: int) -> Found:
    """Room for what is found in n messages of so many bytes."""
    return Found(
        np.empty(n, np.bool_),
        np.empty(n, np.float64),
        np.empty((n, 4), np.int64),
        np.empty((n, len(HASHED) + 1), np.uint64),
        np.empty((n, 2), np.int64),
        np.empty((n, 2), np.int64),
        np.empty(size + 32, np.uint8),
    )


def _words(name: str) -> tuple[int, int]:
    """The first eight bytes of a name, and the last eight of a longer one."""
    data = name.encode()
    first, last = data[:8], data[-8:] if len(data) > 8 else b""
    return int.from_bytes(first, "little"), int.from_bytes(last, "little")


@inner
def _slot(first: Any, last: Any, multiplier: Any) -> Any:
    return ((first ^ last * U(3)) * multiplier) >> _SLOT


def _hashed_names() -> tuple[np.uint64, npt.NDArray[np.uint64]]:
    """A table of the names without collisions, `(128, 3) uint64`, and the multiplier it needs."""
    words = np.array([_words(name) for name in _NAMES], np.uint64)
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


_MULTIPLIER, _TABLE = _hashed_names()


@inner
def _field(data: Any, at: Any, end: Any) -> Any:
    """Which field a name stands for."""
    size = end - at
    if size > _LONGEST:
        return _OTHER
    first, last = load(data, at), U(0)
    if size < U(8):
        first &= (U(1) << size * U(8)) - U(1)
    elif size > U(8):
        last = load(data, end - U(8))
    slot = _slot(first, last, _MULTIPLIER)
    return _TABLE[slot, 2] if _TABLE[slot, 0] == first and _TABLE[slot, 1] == last else _OTHER


@inner
def hashed(data: Any, at: Any, end: Any, seed: Any) -> Any:
    """The hash of a text that is not empty, never 0."""
    return hash_bytes(data, at, end, mix(seed ^ (end - at))) or U(1)


@inner
def _word(data: Any, at: Any, end: Any) -> Any:
    """Where `null`, `true` or `false` ends; 0 if it is none of them."""
    x = load(data, at)
    if x & _FOUR == _NULL or x & _FOUR == _TRUE:
        return at + U(4)
    return at + U(5) if x & _FIVE == _FALSE else U(0)


@inner
def network(data: Any, at: Any, end: Any) -> Any:
    """Where the network part of an address ends: 24 bits of four, or 48 of sixteen."""
    dot, colons, third = U(0), 0, end
    for i in range(at, end):
        if data[i] == 46:
            dot = U(i)
        elif data[i] == 58:
            colons += 1
            third = U(i) if colons == 3 else third
    return dot if dot else third


@inner
def _hash(field: Any, data: Any, at: Any, end: Any, seed: Any, i: int, found: Any) -> None:
    found.hashes[i, field] = hashed(data, at, end, seed)
    if field == _IP:
        end = network(data, at, end)
        found.hashes[i, NETWORK] = hashed(data, at, end, seed) if end > at else U(0)


@inner
def _text(field: Any, data: Any, at: Any, end: Any, seed: Any, i: int, o: Any, found: Any) -> Any:
    """Read a string; where it ends (0: it is not plain), and where the next prompt's text goes."""
    text = found.text
    if field == _PROMPT:
        at, after = string(data, at, end, text, o)
        found.prompt[i, 0], found.prompt[i, 1] = o, after
        return at, after
    begin = at
    quote = plain(data, at, end)
    if quote:
        at = quote + U(1)
        if field < _IS_HASHED and quote > begin:
            _hash(field, data, begin, quote, seed, i, found)
    else:
        at, after = string(data, begin, end, text, o)
        if field < _IS_HASHED and after > o:
            _hash(field, text, o, after, seed, i, found)
        if field == _API_KEY and at - U(1) - begin != after - o:  # it has escapes
            return U(0), o
    if field == _API_KEY and at:
        found.api_key[i, 0], found.api_key[i, 1] = begin, at - U(1)
        if at - U(1) == begin:
            return U(0), o
    return at, o


@inner
def _value(field: Any, data: Any, at: Any, end: Any, seed: Any, i: int, o: Any, found: Any) -> Any:
    """Read a field's value; where it ends (0: it is not plain), and where the next prompt goes."""
    byte = U(data[at])
    if byte == U(34):
        if field < _IS_STRING or field == _OTHER:
            return _text(field, data, at + U(1), end, seed, i, o, found)
        return U(0), o
    if field == _OTHER:
        after = _word(data, at, end)
        return after if after else skip_number(data, at, end), o
    if byte == U(110):
        never = (_NEVER_NULL >> field) & U(1)
        return U(0) if never else _word(data, at, end), o
    if field == _LOGPROBS:
        return _word(data, at, end), o
    if field < _IS_STRING or field == _MESSAGES or not is_digit(byte):
        return U(0), o
    digits, fraction, after = number(data, at, end)
    if field < _IS_COUNT:
        if fraction or digits > U(LARGEST_COUNT):
            return U(0), o
        if field - _IS_STRING < U(4):
            found.counts[i, field - _IS_STRING] = digits
    elif field == _TS and after:
        found.ts[i] = real(digits, fraction)
    return after, o


@inner
def _event(data: Any, at: Any, end: Any, seed: Any, i: int, o: Any, found: Any) -> Any:
    """Read a message; whether it is plain, and where the next prompt's text goes."""
    seen = U(0)
    at = blank(data, at, end)
    if at >= end or data[at] != 123:
        return False, o
    while True:
        at = blank(data, at + U(1), end)
        if at >= end or data[at] != 34:
            return False, o
        begin = at + U(1)
        at = plain(data, begin, end)
        if not at:
            return False, o
        field = _field(data, begin, at)
        if field != _OTHER:
            if (seen >> field) & U(1):
                return False, o
            seen |= U(1) << field
        at = blank(data, at + U(1), end)
        if at >= end or data[at] != 58:
            return False, o
        at = blank(data, at + U(1), end)
        if at >= end:
            return False, o
        at, o = _value(field, data, at, end, seed, i, o, found)
        if not at:
            return False, o
        at = blank(data, at, end)
        if at >= end:
            return False, o
        if data[at] == 125:
            break
        if data[at] != 44:
            return False, o
    return blank(data, at + U(1), end) == end and seen & _REQUIRED == _REQUIRED, o


@jit
def scan(
    data: Any,
    starts: Any,
    ends: Any,
    seed: Any,
    earliest: float,
    latest: float,
    largest: int,
    found: Any,
) -> None:
    """Read n messages.

    Args:
        data: `(size,) uint8`, the messages and what may be read beyond them.
        starts, ends: `(n,) int64`, where each one lies.
        seed: of the hashes, `uint64`.
        earliest, latest: the times that an event may have, within the years 1987 and 5138.
        largest: bytes of a message.
        found: `Found`.
    """
    o = U(0)
    for i in range(len(starts)):
        found.counts[i, :] = 0
        found.hashes[i, :] = 0
        found.prompt[i, :] = 0
        ok, after = False, o
        if 0 < ends[i] - starts[i] <= largest:
            ok, after = _event(data, U(starts[i]), U(ends[i]), seed, i, o, found)
        if ok and earliest <= found.ts[i] <= latest:
            found.plain[i] = True
            o = after
        else:
            found.plain[i] = False
            found.api_key[i, :] = 0


@jit
def hash_each(data: Any, ends: Any, seed: Any, hashes: Any) -> None:
    """Hash n texts that follow one another, `(n,) uint64`; 0 for an empty one."""
    at = U(0)
    for i in range(len(ends)):
        end = U(ends[i])
        hashes[i] = hashed(data, at, end, seed) if end > at else U(0)
        at = end
