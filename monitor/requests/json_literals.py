"""JSON strings and numbers, eight bytes at a time.

These kernels accept a subset of JSON: strings that are valid UTF-8 and whose escapes are
characters, and numbers of at most 19 digits. They read up to 16 bytes beyond `end`, which must
exist (`PADDING`).

In all of them `data` and `out` are `(size,) uint8`, and `at`, `end` and `o` are uint64 byte
offsets, `o` in `out`. An offset of 0 as a result means that the text is not in the subset.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.kernels.bits import HIGH, ONES, U, before, count_ones, inner, load_bytes

_QUOTES, _BACKSLASHES, _BLANKS = (U(byte * int(ONES)) for byte in (0x22, 0x5C, 0x20))
_POINT, _MINUS, _PLUS, _ZERO, _NINE, _EXPONENT = (U(ord(c)) for c in ".-+09e")
_LOWER = U(0x20)
_NOT_HEX = U(1 << 20)  # larger than any number of four hexadecimal digits
_MAX_DIGITS = U(19)  # of a number: they fit 64 bits
_MAX_FRACTION = U(12)  # digits of the fraction: a scaled remainder still fits 64 bits
_POWERS = np.array([10**i for i in range(int(_MAX_FRACTION) + 1)], np.uint64)


@inner
def _zero_bytes(x: Any) -> Any:
    """Set the highest bit of each zero byte of x, uint64. Bits above the first one may be wrong."""
    return (x - ONES) & ~x & HIGH


@inner
def _special_bytes(x: Any) -> Any:
    """Set the highest bit of each quote, backslash and control character of x, uint64. Bits above
    the first one may be wrong."""
    return _zero_bytes(x ^ _QUOTES) | _zero_bytes(x ^ _BACKSLASHES) | ((x - _BLANKS) & ~x & HIGH)


@inner
def is_digit(byte: Any) -> Any:
    """Whether a byte, uint64, is an ASCII digit."""
    return byte - _ZERO <= _NINE - _ZERO


@inner
def skip_blanks(data: Any, at: Any, end: Any) -> Any:
    """The offset, uint64, of the first byte at or after `at` that is not white space."""
    while at < end and (data[at] == 32 or data[at] == 10 or data[at] == 13 or data[at] == 9):
        at += U(1)
    return at


@inner
def simple_string_end(data: Any, at: Any, end: Any) -> Any:
    """The offset, uint64, of the closing quote of a string of ASCII without escapes; 0 if it is not
    such a string.

    Args:
        at: offset after the opening quote.
        end: offset where the message ends.
    """
    while at < end:
        x = load_bytes(data, at)
        found = _special_bytes(x) | (x & HIGH)
        if found:
            at += count_ones(before(found) & ONES)
            return at if at < end and data[at] == 34 else U(0)
        at += U(8)
    return U(0)


def name_words(name: str) -> tuple[int, int]:
    """The first eight bytes of a name and, if it is longer, its last eight, as integers."""
    data = name.encode()
    first, last = data[:8], data[-8:] if len(data) > 8 else b""
    return int.from_bytes(first, "little"), int.from_bytes(last, "little")


@inner
def words_of(data: Any, at: Any, end: Any) -> tuple[Any, Any]:
    """The same of the name `data[at:end]`, both uint64."""
    size = end - at
    first = load_bytes(data, at)
    if size < U(8):
        return first & ((U(1) << size * U(8)) - U(1)), U(0)
    return first, load_bytes(data, end - U(8)) if size > U(8) else U(0)


@inner
def read_name(data: Any, at: Any, end: Any) -> tuple[Any, Any, Any]:
    """Read the name of the next member of an object.

    Args:
        at: offset of the brace or the comma before it.

    Returns:
        Offsets where the name begins and ends, and where its value begins (0: not in the subset).
    """
    begin = skip_blanks(data, at + U(1), end) + U(1)
    if begin >= end or data[begin - U(1)] != 34:
        return begin, begin, U(0)
    after = simple_string_end(data, begin, end)
    if not after:
        return begin, begin, U(0)
    at = skip_blanks(data, after + U(1), end)
    if at >= end or data[at] != 58:
        return begin, after, U(0)
    at = skip_blanks(data, at + U(1), end)
    return begin, after, at if at < end else U(0)


@inner
def _hex_digit(byte: Any) -> Any:
    """The value of a hexadecimal digit, uint64; `_NOT_HEX` for any other byte."""
    if is_digit(byte):
        return byte - _ZERO
    byte |= _LOWER
    return byte - U(87) if U(97) <= byte <= U(102) else _NOT_HEX


@inner
def _hex_code(data: Any, at: Any) -> Any:
    """The value of four hexadecimal digits, uint64; more than 0xFFFF if one of them is none."""
    code = U(0)
    for k in range(4):
        code = code << U(4) | _hex_digit(U(data[at + U(k)]))
    return code


@inner
def _write_character(out: Any, o: Any, code: Any) -> Any:
    """Write a code point as UTF-8; return the offset after it.

    Args:
        code: uint64 code point.
    """
    low, high = U(0x3F), U(0x80)
    if code < U(0x80):
        out[o] = code
        return o + U(1)
    if code < U(0x800):
        out[o] = U(0xC0) | code >> U(6)
        out[o + U(1)] = high | code & low
        return o + U(2)
    if code < U(0x10000):
        out[o] = U(0xE0) | code >> U(12)
        out[o + U(1)] = high | code >> U(6) & low
        out[o + U(2)] = high | code & low
        return o + U(3)
    out[o] = U(0xF0) | code >> U(18)
    out[o + U(1)] = high | code >> U(12) & low
    out[o + U(2)] = high | code >> U(6) & low
    out[o + U(3)] = high | code & low
    return o + U(4)


@inner
def _is_utf8(data: Any, at: Any, end: Any) -> Any:
    """Whether `data[at:end]` is UTF-8 (table 3-7 of the Unicode Standard)."""
    while at < end:
        if at + U(8) <= end and load_bytes(data, at) & HIGH == U(0):
            at += U(8)
            continue
        a, b = U(data[at]), U(data[at + U(1)])
        if a < U(0x80):
            at += U(1)
            continue
        if a < U(0xC2) or a > U(0xF4):
            return False
        least = U(0xA0) if a == U(0xE0) else U(0x90) if a == U(0xF0) else U(0x80)
        most = U(0x9F) if a == U(0xED) else U(0x8F) if a == U(0xF4) else U(0xBF)
        size = U(2) if a < U(0xE0) else U(3) if a < U(0xF0) else U(4)
        if at + size > end or b < least or b > most:
            return False
        for k in range(U(2), size):
            if U(data[at + k]) & U(0xC0) != U(0x80):
                return False
        at += size
    return True


@inner
def _unescape(data: Any, at: Any) -> tuple[Any, Any]:
    """The code point of the escape at `at` and the offset after it (0: invalid), both uint64.

    Args:
        at: offset of the backslash.
    """
    kind = U(data[at + U(1)])
    at += U(2)
    if kind == U(110):
        return U(10), at
    if kind == U(34) or kind == U(92) or kind == U(47):
        return kind, at
    if kind == U(116):
        return U(9), at
    if kind == U(114):
        return U(13), at
    if kind == U(98):
        return U(8), at
    if kind == U(102):
        return U(12), at
    if kind != U(117):
        return U(0), U(0)
    code = _hex_code(data, at)
    at += U(4)
    if code - U(0xD800) < U(0x400):
        second = _hex_code(data, at + U(2))
        if data[at] != 92 or data[at + U(1)] != 117 or second - U(0xDC00) >= U(0x400):
            return U(0), U(0)
        return U(0x10000) + ((code - U(0xD800)) << U(10)) + (second - U(0xDC00)), at + U(6)
    if code > U(0xFFFF) or code - U(0xDC00) < U(0x400):
        return U(0), U(0)
    return code, at


@inner
def parse_string(data: Any, at: Any, end: Any, out: Any, o: Any) -> tuple[Any, Any]:
    """Write the text of a string to `out[o:]`. Up to eight bytes beyond it are overwritten.

    Args:
        at: offset after the opening quote.
        end: offset where the message ends.

    Returns:
        Offset after the closing quote (0: not in the subset), and offset after the text in `out`.
    """
    begin, union = o, U(0)
    while at < end:
        x = load_bytes(data, at)
        for k in range(8):
            out[o + U(k)] = (x >> U(8 * k)) & U(0xFF)
        found = _special_bytes(x)
        if not found:
            union |= x
            at += U(8)
            o += U(8)
            continue
        inside = before(found)
        size = count_ones(inside & ONES)
        union |= x & inside
        at += size
        o += size
        if at >= end:
            break
        if data[at] == 34:
            ok = union & HIGH == U(0) or _is_utf8(out, begin, o)
            return at + U(1) if ok else U(0), o
        if data[at] != 92:
            break
        code, at = _unescape(data, at)
        if at == U(0):
            break
        o = _write_character(out, o, code)
    return U(0), o


@inner
def parse_number(data: Any, at: Any, end: Any) -> tuple[Any, Any, Any]:
    """Read a non-negative number without exponent.

    Returns:
        Its digits as an integer, the number of digits after the point, and the offset after it
        (0: not in the subset), all uint64.
    """
    digits, size, fraction, pointed = U(0), U(0), U(0), False
    begin = at
    while at < end:
        byte = U(data[at])
        if is_digit(byte):
            digits = digits * U(10) + (byte - _ZERO)
            size += U(1)
            fraction += U(pointed)
        elif byte == _POINT and not pointed and size:
            pointed = True
        else:
            break
        at += U(1)
    zeros = U(data[begin]) == _ZERO and is_digit(U(data[begin + U(1)]))
    cut = pointed and not fraction
    if zeros or cut or not U(0) < size <= _MAX_DIGITS or fraction > _MAX_FRACTION:
        return digits, fraction, U(0)
    return digits, fraction, at


@inner
def skip_number(data: Any, at: Any, end: Any) -> Any:
    """The offset, uint64, after a number of any kind; 0 if it is not in the subset."""
    if U(data[at]) == _MINUS:
        at += U(1)
    begin, pointed = at, False
    while at < end and (is_digit(U(data[at])) or (U(data[at]) == _POINT and not pointed)):
        if U(data[at]) == _POINT:
            pointed = True
        at += U(1)
    zeros = U(data[begin]) == _ZERO and is_digit(U(data[begin + U(1)]))
    whole = at - begin
    if zeros or not U(0) < whole <= _MAX_DIGITS or not is_digit(U(data[begin])):
        return U(0)
    if not is_digit(U(data[at - U(1)])):
        return U(0)
    if at < end and U(data[at]) | _LOWER == _EXPONENT:
        at += U(1)
        if U(data[at]) == _MINUS or U(data[at]) == _PLUS:
            at += U(1)
        begin = at
        while at < end and is_digit(U(data[at])):
            at += U(1)
        if not U(0) < at - begin <= U(2):
            return U(0)
    return at


@inner
def to_float(digits: Any, fraction: Any) -> Any:
    """The float64 nearest to `digits / 10 ** fraction`, ties to even.

    Exact from 2 ** 29 to 2 ** 52, where both parts fit 64 bits; any other number gives 0.

    Args:
        digits, fraction: uint64, see `parse_number`.
    """
    power = _POWERS[fraction]
    whole, rest = digits // power, digits % power
    if whole < U(1 << 29) or whole >= U(1 << 52):
        return 0.0
    shift = U(0)
    while whole << shift < U(1 << 52):
        shift += U(1)
    scaled = rest << shift
    mantissa = (whole << shift) + scaled // power
    twice = U(2) * (scaled % power)
    mantissa += U(twice > power or (twice == power and mantissa & U(1) != U(0)))
    return np.float64(mantissa) / np.float64(U(1) << shift)
