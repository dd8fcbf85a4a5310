"""Inspection: which prompts hide words from a reader by machine.

Eight bytes at a time, the kernel counts characters, spaces, digits and the length of runs without
a space. Only prompts whose counts are unusual are read by character: those that are not ASCII, and
those with a long run. So an ordinary prompt costs a few instructions per eight bytes.

A run of base64 or hexadecimal is recognised by decoding a few bytes of its middle at every
alignment: random bytes are almost never UTF-8 without control characters.

In all kernels here `data` is `(size,) uint8`, whole prompts as UTF-8; `at`, `end` and `begin` are
uint64 offsets in it; `classes` is `(PLANES,) uint8`, see `Looks`; `values` is `(256,) uint8`, the
value of each byte in base64, NO_VALUE for others.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.kernels.bits import (
    HIGH,
    ONES,
    U,
    character,
    count_ones,
    entry,
    inner,
    letters,
    load_bytes,
)
from monitor.kernels.buffers import Prompts
from monitor.kernels.siphash import siphash
from monitor.prompts.cleaning.looks import (
    ACCENTED,
    CHANGED,
    DOTLESS,
    FOREIGN,
    HIDDEN,
    JOINER,
    JOINS,
    LIKE,
    PLAIN,
    PLANES,
    looks,
)

# Reasons to clean a prompt, one bit each.
LOOKS_ODD, ENCODED, SPACED = 1, 2, 4

NO_VALUE = 64  # of a byte that is not of base64
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_RUN = 24  # bytes without a space; shorter ones are words
_SAMPLE = 32  # characters of a run that are decoded to recognise it
_ESCAPES = 4  # escaped characters that are recognised
_FEW_SPACES = 40  # bytes of a text without spaces that is not an ordinary word


@lru_cache(1)
def base64_values() -> npt.NDArray[np.uint8]:
    """`(256,) uint8`, the value of each byte in both alphabets of base64."""
    values = np.full(256, NO_VALUE, np.uint8)
    values[np.frombuffer(_ALPHABET.encode(), np.uint8)] = np.arange(64)
    values[[ord("-"), ord("_")]] = 62, 63
    return values


def is_encoded(text: str) -> bool:
    """Whether a text must be decoded."""
    prompts = Prompts.of([text])
    reasons, counts = np.empty(1, np.uint8), np.empty((2, 1), np.uint64)
    key = np.zeros(2, np.uint64)
    inspect(prompts.data, prompts.places, looks().classes, base64_values(), key, 0, reasons, counts)
    return bool(reasons[0] & (ENCODED | SPACED))


@inner
def _blanks(x: Any) -> Any:
    """1 in each byte of x, uint64, that is a space or a control character."""
    return (~((x & ~HIGH) + U(0x5F5F5F5F5F5F5F5F) | x) & HIGH) >> U(7)


@inner
def _sum_bytes(x: Any) -> Any:
    """The sum of the eight bytes of x, uint64."""
    even = U(0x00FF00FF00FF00FF)
    return (((x & even) + ((x >> U(8)) & even)) * U(0x0001000100010001)) >> U(48)


@inner
def _count_continuations(data: Any, at: Any, end: Any) -> Any:
    """The number of bytes, uint64, that are not the first one of their character."""
    count = U(0)
    while at + U(8) <= end:
        x = load_bytes(data, at)
        if x & HIGH:
            count += count_ones((x >> U(7)) & ~(x >> U(6)) & ONES)
        at += U(8)
    while at < end:
        count += U(U(data[at]) & U(0xC0) == U(0x80))
        at += U(1)
    return count


@inner
def _is_hex(byte: Any) -> Any:
    """Whether a byte, uint8, is a hexadecimal digit."""
    return 48 <= byte <= 57 or 97 <= byte <= 102 or 65 <= byte <= 70


@inner
def _nibble(byte: Any) -> Any:
    """The value, uint64, of a hexadecimal digit."""
    return U(byte) & U(15) if byte <= 57 else (U(byte) & U(15)) + U(9)


@inner
def _follows(byte: Any, missing: Any) -> Any:
    """The state after a byte of text: bytes of its character that are missing, uint64.

    Args:
        byte: uint64.
        missing: uint64, the state before; 4 where a character may have begun earlier.

    Returns:
        5 if the byte cannot follow in a text: it is a control character, or not UTF-8.
    """
    if byte & U(0xC0) == U(0x80):
        return U(5) if missing == U(0) else U(4) if missing == U(4) else missing - U(1)
    if missing > U(0) and missing < U(4):
        return U(5)
    if byte < U(0x80):
        shown = byte >= U(32) and byte != U(127)
        return U(0) if shown or byte == U(9) or byte == U(10) or byte == U(13) else U(5)
    if byte < U(0xC2) or byte > U(0xF4):
        return U(5)
    return U(1) if byte < U(0xE0) else U(2) if byte < U(0xF0) else U(3)


@inner
def _is_base64(data: Any, begin: Any, end: Any, values: Any) -> bool:
    """Whether the middle of a run of base64 characters decodes to text at some alignment."""
    sample = min(end - begin - U(4), U(_SAMPLE))
    middle = begin + (end - begin - sample - U(3)) // U(2)
    for shift in range(4):
        at, bits, held, missing = middle + U(shift), U(0), U(0), U(4)
        for _ in range(sample):
            bits = bits << U(6) | U(values[data[at]])
            held += U(6)
            at += U(1)
            if held >= U(8):
                held -= U(8)
                missing = _follows((bits >> held) & U(0xFF), missing)
                if missing == U(5):
                    break
        if missing != U(5):
            return True
    return False


@inner
def _is_hex_text(data: Any, begin: Any, end: Any) -> bool:
    """Whether a run of hexadecimal digits decodes to text at some alignment."""
    for shift in range(2):
        at, missing = begin + U(shift), U(4)
        last = min(end, at + U(_SAMPLE))
        while at + U(1) < last and missing != U(5):
            missing = _follows(_nibble(data[at]) << U(4) | _nibble(data[at + U(1)]), missing)
            at += U(2)
        if missing != U(5):
            return True
    return False


@inner
def _next_run(data: Any, at: Any, end: Any) -> tuple[Any, Any]:
    """Find a run of `_RUN` bytes or more without a space.

    Returns:
        Offsets where it begins and ends, uint64; both are `end` if there is none. Runs with up to
        seven bytes more are found at some offsets only.
    """
    run = U(0)
    while at + U(8) <= end:
        run = U(0) if _blanks(load_bytes(data, at)) else run + U(8)
        at += U(8)
        if run >= U(_RUN):
            begin = at - run
            while at < end and data[at] > 32:
                at += U(1)
            return begin, at
    return end, end


@inner
def _is_encoded(data: Any, at: Any, end: Any, values: Any) -> bool:
    """Whether there is a run of base64 or hexadecimal, or several escaped characters."""
    first, escapes = at, 0
    while True:
        at, stop = _next_run(data, at, end)
        if at == stop:
            return False
        while at > first and data[at - U(1)] > 32:
            at -= U(1)
        begin, changes, hexadecimal, last = at, U(0), True, 0
        while at <= stop:
            byte = data[at] if at < stop else np.uint8(32)
            if values[byte] < NO_VALUE:
                kind = 1 if byte >= 97 else 2 if byte >= 65 else 3
                changes += U(kind != last)
                last = kind
                hexadecimal = hexadecimal and _is_hex(byte)
                at += U(1)
                continue
            if at - begin >= U(_RUN):
                if hexadecimal:
                    if _is_hex_text(data, begin, at):
                        return True
                elif changes * U(4) >= at - begin and _is_base64(data, begin, at, values):
                    return True
            if at + U(3) < stop:
                following, third = data[at + U(1)], data[at + U(2)]
                if byte == 37:
                    escapes += _is_hex(following) and _is_hex(third)
                elif byte == 92:
                    escapes += (following == 117 or following == 120) and _is_hex(third)
                elif byte == 38:
                    escapes += following == 35
                if escapes >= _ESCAPES:
                    return True
            at += U(1)
            begin, changes, hexadecimal, last = at, U(0), True, 0
        at = stop


@inner
def _looks_odd(data: Any, at: Any, end: Any, classes: Any) -> Any:
    """Whether characters must be replaced or dropped, or are accented too often."""
    latin, accented, foreign, like, dotless = U(0), U(0), U(0), U(0), U(0)
    before, word = np.uint8(PLAIN), 0  # word: 1 has Latin letters, 2 has ones that look like them
    while at < end:
        x = load_bytes(data, at)
        if x & HIGH == U(0) and at + U(8) <= end:
            found = letters(x) >> U(7)
            if word & 2 and found & U(1):
                return True
            latin += count_ones(found)
            word = 1 if found >> U(56) else 0
            before = np.uint8(PLAIN)
            at += U(8)
            continue
        if data[at] < 128:
            is_letter = (data[at] | 32) >= 97 and (data[at] | 32) <= 122
            latin += U(is_letter)
            word = word | 1 if is_letter else 0
            if word == 3:
                return True
            before = np.uint8(PLAIN)
            at += U(1)
            continue
        code, size = character(data, at)
        at += size
        kind = np.uint8(JOINS)
        if code < U(PLANES):
            kind = classes[code]
        elif code >= U(0xE0000):
            kind = np.uint8(HIDDEN)
        if kind in (HIDDEN, CHANGED):
            return True
        if kind == JOINER:
            if before != JOINS:
                return True
            continue
        if code == U(DOTLESS):
            dotless += U(1)
        elif kind == LIKE:
            word |= 2
            like += U(1)
        elif kind == ACCENTED:
            word |= 1
            accented += U(1)
        elif kind == FOREIGN:
            foreign += U(1)
        else:
            word = 0
        if word == 3:
            return True
        before = kind
    odd = accented > U(8) and accented > latin
    odd |= like > U(1) and latin > U(2) * (foreign + like)
    return odd or dotless > U(2) + U(2) * accented


@entry
def inspect(
    data: Any, places: Any, classes: Any, values: Any, key: Any, most: Any, found: Any, counts: Any
) -> int:
    """Inspect n prompts.

    Args:
        places: `(n, 2) int64`, byte offsets in `data` where each one begins and ends.
        key: `(2,) uint64`, of the hash.
        most: characters of a prompt that is not long.
        found: `(n,) uint8`, the result: reasons to clean each prompt, bits; 0 for none.
        counts: `(2, n) uint64`, the result: characters of each prompt, and its keyed hash if it
            is long or to be cleaned.

    Returns:
        Number of prompts to clean.
    """
    to_clean = 0
    zero, nine = U(0x5050505050505050), U(0x4646464646464646)
    for i in range(len(places)):
        begin, end = U(places[i, 0]), U(places[i, 1])
        size, at = end - begin, begin
        any_byte, words, digits, spaces = U(0), U(0), U(0), U(0)
        run, longest, previous = U(0), U(0), U(1)
        while at + U(8) <= end:
            some_words, some_digits, some_spaces = U(0), U(0), U(0)  # counts, one per byte
            for _ in range(min((end - at) >> U(3), U(255))):
                x = load_bytes(data, at)
                low = x & ~HIGH
                blank = _blanks(x)
                some_words += (blank << U(8) | previous) & ~blank
                some_digits += ((low + zero) & ~(low + nine | x) & HIGH) >> U(7)
                some_spaces += blank
                previous = blank >> U(56)
                run = U(0) if blank else run + U(8)
                longest = max(longest, run)
                any_byte |= x
                at += U(8)
            words += _sum_bytes(some_words)
            digits += _sum_bytes(some_digits)
            spaces += _sum_bytes(some_spaces)
        while at < end:
            any_byte |= U(data[at])
            at += U(1)
        wide = (any_byte & HIGH) != 0
        inside = _count_continuations(data, begin, end) if wide else U(0)
        counts[0, i] = size - inside
        reasons = 0
        if wide and _looks_odd(data, begin, end, classes):
            reasons |= LOOKS_ODD
        if longest >= U(_RUN) and _is_encoded(data, begin, end, values):
            reasons |= ENCODED
        if size >= U(_RUN) and (words * U(7) > size * U(2) or digits * U(2) > size):
            reasons |= SPACED
        if size >= U(_FEW_SPACES) and not wide and spaces * U(32) < size:
            reasons |= SPACED
        counts[1, i] = U(0)
        if reasons or size - inside > U(most):
            counts[1, i] = siphash(data, begin, end, key[0], key[1])
        found[i] = reasons
        to_clean += reasons != 0
    return to_clean
