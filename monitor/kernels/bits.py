"""Bytes, eight at a time: what the compiled code that reads prompts is made of."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from monitor.kernels.jit import kept

U = np.uint64
ONES, HIGH, CASE = U(0x0101010101010101), U(0x8080808080808080), U(0x2020202020202020)
C1, C2 = U(0xFF51AFD7ED558CCD), U(0xC4CEB9FE1A85EC53)

_LINE = 64  # bytes

# No arrays are made in compiled code, so none need counting; only entries are called by Python.
OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False}
jit = numba.njit(**OPTIONS, nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
entry = kept(**OPTIONS)


def aligned(shape: tuple[int, ...], kind: type[Any]) -> npt.NDArray[Any]:
    """Zeros that begin where a line of the processor's cache does."""
    dtype = np.dtype(kind)
    size = dtype.itemsize * math.prod(shape)
    room = np.zeros(size + _LINE, np.uint8)
    begin = -room.ctypes.data % _LINE
    return room[begin : begin + size].view(dtype).reshape(shape)


@jit
def mix(x: Any) -> Any:
    x ^= x >> U(32)
    x *= C1
    x ^= x >> U(29)
    x *= C2
    return x ^ (x >> U(32))


@jit
def load(buffer: Any, at: Any) -> Any:
    """Eight bytes as a number; the compiler makes one instruction of it."""
    x = U(buffer[at])
    for k in range(1, 8):
        x |= U(buffer[at + U(k)]) << U(8 * k)
    return x


@jit
def letters(x: Any) -> Any:
    """The highest bit of each byte that is an ASCII letter."""
    low = (x & ~HIGH) | CASE
    return (low + U(0x1F1F1F1F1F1F1F1F)) & ~(low + U(0x0505050505050505)) & ~x & HIGH


@jit
def before(highest: Any) -> Any:
    """All bits of the bytes before the first one whose highest bit is set."""
    return ((highest & (~highest + U(1))) >> U(7)) - U(1)


@jit
def count_ones(ones: Any) -> Any:
    """How many bytes are 1, the others being 0."""
    return (ones * ONES) >> U(56)


@jit
def count_bits(x: Any) -> Any:
    """How many bits are 1 (the sideways addition of Hacker's Delight)."""
    x -= (x >> U(1)) & U(0x5555555555555555)
    x = (x & U(0x3333333333333333)) + ((x >> U(2)) & U(0x3333333333333333))
    return (((x + (x >> U(4))) & U(0x0F0F0F0F0F0F0F0F)) * ONES) >> U(56)


@jit
def hash_bytes(buffer: Any, at: Any, end: Any, seed: Any) -> Any:
    """Hash bytes as `_word` hashes letters."""
    hashed = seed
    while at + U(8) <= end:
        hashed = mix(hashed ^ load(buffer, at))
        at += U(8)
    if at < end:
        rest = (U(1) << ((end - at) * U(8))) - U(1)
        hashed = mix(hashed ^ (load(buffer, at) & rest))
    return hashed


@jit
def character(buffer: Any, at: Any) -> tuple[Any, Any]:
    """The code point at a byte of valid UTF-8, and how many bytes it takes."""
    a, low = U(buffer[at]), U(0x3F)
    if a < U(0x80):
        return a, U(1)
    b = U(buffer[at + U(1)]) & low
    if a < U(0xE0):
        return (a & U(0x1F)) << U(6) | b, U(2)
    c = U(buffer[at + U(2)]) & low
    if a < U(0xF0):
        return (a & U(0x0F)) << U(12) | b << U(6) | c, U(3)
    d = U(buffer[at + U(3)]) & low
    return (a & U(7)) << U(18) | b << U(12) | c << U(6) | d, U(4)
