"""A keyed hash of pairs of integers, on whole arrays: SipHash-1-3.

It decides which tokens a mark favours. Who sees marked text and not the key can learn the choice of
single tokens by counting, but neither the key nor the choice of tokens that were not counted. It
uses only operations on 64-bit integers that wrap, so it runs on arrays of NumPy and, unchanged, on
tensors of PyTorch.

Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012.
"""

from __future__ import annotations

from typing import Any, NamedTuple

_START = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
_LENGTH = 16 << 56  # of a message: two integers of 8 bytes


class HashKey(NamedTuple):
    """128 bits, as two signed integers of 64 bits."""

    low: int
    high: int

    @classmethod
    def from_bytes(cls, data: bytes) -> HashKey:
        """The key of 16 bytes."""
        return cls(*(int.from_bytes(data[i : i + 8], "little", signed=True) for i in (0, 8)))


def keyed_hash(key: HashKey, first: Any, second: Any) -> Any:
    """The hash of each pair.

    Args:
        first, second: int64 arrays with at least one axis; they are broadcast.

    Returns:
        an int64 array.
    """
    begin = [_signed(each ^ key[i % 2]) for i, each in enumerate(_START)]
    v = _round(begin[0], begin[1], begin[2], first ^ begin[3])
    v = _round(v[0] ^ first, v[1], v[2], v[3] ^ second)
    v = _round(v[0] ^ second, v[1], v[2], v[3] ^ _LENGTH)
    v = _round(v[0] ^ _LENGTH, v[1], v[2] ^ 0xFF, v[3])
    v = _round(*_round(*v))
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def _round(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any, Any, Any]:
    a = _sum(a, b)
    b = _rotated(b, 13) ^ a
    a = _rotated(a, 32)
    c = c + d
    d = _rotated(d, 16) ^ c
    a = a + d
    d = _rotated(d, 21) ^ a
    c = c + b
    b = _rotated(b, 17) ^ c
    return a, b, _rotated(c, 32), d


def _sum(a: Any, b: Any) -> Any:
    return _signed(a + b) if isinstance(a, int) and isinstance(b, int) else a + b


def _rotated(x: Any, bits: int) -> Any:
    found = (x << bits) | ((x >> (64 - bits)) & ((1 << bits) - 1))
    return _signed(found) if isinstance(x, int) else found


def _signed(value: int) -> int:
    """The 64 lowest bits of an integer, as a signed one."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value
