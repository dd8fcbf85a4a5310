"""Strings and numbers of JSON, eight bytes at a time.

What is here accepts less than JSON allows and nothing beyond it: a string that is valid UTF-8 and
whose escapes are characters, a number without surprises. Everything reads up to 16 bytes beyond
the end it is given, which must be there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.kernels.bits import HIGH, ONES, U, before, count_ones, jit, load

_QUOTES, _BACKSLASHES, _BLANKS = (U(byte * int(ONES)) for byte in (0x22, 0x5C, 0x20))
_POINT, _MINUS, _PLUS, _ZERO, _NINE, _EXPONENT = (U(ord(c)) for c in ".-+09e")
_LOWER = U(0x20)
_NO_DIGIT = U(1 << 20)  # larger than any character of four digits
_DIGITS = U(19)  # of a number, so that 64 bits hold it
_MOST_IN_FRACTION = U(12)  # so that they still hold it when it is scaled
_POWERS = np.array([10**i for i in range(int(_MOST_IN_FRACTION) + 1)], np.uint64)


@jit
def _zeros(x: Any) -> Any:
    """The highest bit of each byte that is 0; the lowest of them is exact, those above may err."""
    return (x - ONES) & ~x & HIGH


@jit
def _special(x: Any) -> Any:
    """Likewise of each byte that a string cannot hold: quotes, backslashes, control characters."""
    return _zeros(x ^ _QUOTES) | _zeros(x ^ _BACKSLASHES) | ((x - _BLANKS) & ~x & HIGH)


@jit
def is_digit(byte: Any) -> Any:
    return byte - _ZERO <= _NINE - _ZERO


@jit
def blank(data: Any, at: Any, end: Any) -> Any:
    """Where white space ends."""
    while at < end and (data[at] == 32 or data[at] == 10 or data[at] == 13 or data[at] == 9):
        at += U(1)
    return at


@jit
def plain(data: Any, at: Any, end: Any) -> Any:
    """Where a string without escapes or wide characters has its closing quote; 0 if it is none.

    Args:
        at: after the opening quote.
    """
    while at < end:
        x = load(data, at)
        found = _special(x) | (x & HIGH)
        if found:
            at += count_ones(before(found) & ONES)
            return at if at < end and data[at] == 34 else U(0)
        at += U(8)
    return U(0)


@jit
def _nibble(byte: Any) -> Any:
    if is_digit(byte):
        return byte - _ZERO
    byte |= _LOWER
    return byte - U(87) if U(97) <= byte <= U(102) else _NO_DIGIT


@jit
def _four(data: Any, at: Any) -> Any:
    """The number of four hexadecimal digits, or more than they can say."""
    code = U(0)
    for k in range(4):
        code = code << U(4) | _nibble(U(data[at + U(k)]))
    return code


@jit
def _put(out: Any, o: Any, code: Any) -> Any:
    """Write a character; where it ends."""
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


@jit
def _valid(data: Any, at: Any, end: Any) -> Any:
    """Whether bytes are UTF-8 (table 3-7 of the Unicode Standard)."""
    while at < end:
        if at + U(8) <= end and load(data, at) & HIGH == U(0):
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


@jit
def _escaped(data: Any, at: Any) -> tuple[Any, Any]:
    """The character that an escape stands for, and where it ends (0: it stands for none)."""
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
    code = _four(data, at)
    at += U(4)
    if code - U(0xD800) < U(0x400):
        second = _four(data, at + U(2))
        if data[at] != 92 or data[at + U(1)] != 117 or second - U(0xDC00) >= U(0x400):
            return U(0), U(0)
        return U(0x10000) + ((code - U(0xD800)) << U(10)) + (second - U(0xDC00)), at + U(6)
    if code > U(0xFFFF) or code - U(0xDC00) < U(0x400):
        return U(0), U(0)
    return code, at


@jit
def string(data: Any, at: Any, end: Any, out: Any, o: Any) -> tuple[Any, Any]:
    """Write the text of a string; where the string ends (0: it is none that is read here), and
    the text. Up to eight bytes more are written.

    Args:
        at: after the opening quote.
    """
    begin, union = o, U(0)
    while at < end:
        x = load(data, at)
        for k in range(8):
            out[o + U(k)] = (x >> U(8 * k)) & U(0xFF)
        found = _special(x)
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
            ok = union & HIGH == U(0) or _valid(out, begin, o)
            return at + U(1) if ok else U(0), o
        if data[at] != 92:
            break
        code, at = _escaped(data, at)
        if at == U(0):
            break
        o = _put(out, o, code)
    return U(0), o


@jit
def number(data: Any, at: Any, end: Any) -> tuple[Any, Any, Any]:
    """The digits of a number that is not negative, how many of them follow the point, and where
    it ends (0: it is none that is read here)."""
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
    if zeros or cut or not U(0) < size <= _DIGITS or fraction > _MOST_IN_FRACTION:
        return digits, fraction, U(0)
    return digits, fraction, at


@jit
def skip_number(data: Any, at: Any, end: Any) -> Any:
    """Where a number of any kind ends; 0 if it is none that is read here."""
    if U(data[at]) == _MINUS:
        at += U(1)
    begin, pointed = at, False
    while at < end and (is_digit(U(data[at])) or (U(data[at]) == _POINT and not pointed)):
        if U(data[at]) == _POINT:
            pointed = True
        at += U(1)
    zeros = U(data[begin]) == _ZERO and is_digit(U(data[begin + U(1)]))
    whole = at - begin
    if zeros or not U(0) < whole <= _DIGITS or not is_digit(U(data[begin])):
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


@jit
def real(digits: Any, fraction: Any) -> Any:
    """The number nearest to `digits / 10 ** fraction`; exact, the even one of two.

    It has to be from 2 ** 29 to 2 ** 52, so that both parts stay within 64 bits; anything else
    gives 0.
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
