"""Arithmetic on bytes, eight at a time, for the kernels that read messages and prompts.

Numbers are uint64 throughout: numba turns a mixture with int64 into float64. `load_bytes` and all
that call it read up to eight bytes from an offset, so a buffer ends in `PADDING`.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from monitor.kernels.jit import cached_jit

U = np.uint64
ONES, HIGH, _CASE = U(0x0101010101010101), U(0x8080808080808080), U(0x2020202020202020)
C1, C2 = U(0xFF51AFD7ED558CCD), U(0xC4CEB9FE1A85EC53)

_CACHE_LINE = 64  # bytes

# Kernels allocate no arrays, so numba's run-time (reference counts) is left out. Only an `entry`
# can be called from Python.
KERNEL_OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False}
inner = numba.njit(**KERNEL_OPTIONS, nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
entry = cached_jit(**KERNEL_OPTIONS)


def aligned(shape: tuple[int, ...], kind: type[Any]) -> npt.NDArray[Any]:
    """Zeros of a shape and dtype, aligned to a line of the processor's cache."""
    dtype = np.dtype(kind)
    size = dtype.itemsize * math.prod(shape)
    memory = np.zeros(size + _CACHE_LINE, np.uint8)
    begin = -memory.ctypes.data % _CACHE_LINE
    return memory[begin : begin + size].view(dtype).reshape(shape)


@inner
def mix(x: Any) -> Any:
    """A permutation of uint64 that spreads every bit over all bits. It hides nothing: it can be
    inverted, so apply it to hashes that are keyed already.

    Source: the finaliser of MurmurHash3 (A. Appleby), with one other shift.
    """
    x ^= x >> U(32)
    x *= C1
    x ^= x >> U(29)
    x *= C2
    return x ^ (x >> U(32))


@inner
def load_bytes(buffer: Any, at: Any) -> Any:
    """The eight bytes at `at` as a little-endian uint64; compiles to one instruction.

    Args:
        buffer: `(size,) uint8`; `at`: uint64 offset.
    """
    x = U(buffer[at])
    for k in range(1, 8):
        x |= U(buffer[at + U(k)]) << U(8 * k)
    return x


@inner
def letters(x: Any) -> Any:
    """Set the highest bit of each byte of x, uint64, that is an ASCII letter."""
    low = (x & ~HIGH) | _CASE
    return (low + U(0x1F1F1F1F1F1F1F1F)) & ~(low + U(0x0505050505050505)) & ~x & HIGH


@inner
def before(highest: Any) -> Any:
    """Set all bits of the bytes before the first one whose highest bit is set; uint64."""
    return ((highest & (~highest + U(1))) >> U(7)) - U(1)


@inner
def count_ones(ones: Any) -> Any:
    """The number of bytes of x, uint64, that are 1; all others must be 0."""
    return (ones * ONES) >> U(56)


@inner
def count_bits(x: Any) -> Any:
    """The number of bits of x, uint64, that are 1.

    Source: H. S. Warren, Hacker's Delight, section 5-1.
    """
    x -= (x >> U(1)) & U(0x5555555555555555)
    x = (x & U(0x3333333333333333)) + ((x >> U(2)) & U(0x3333333333333333))
    return (((x + (x >> U(4))) & U(0x0F0F0F0F0F0F0F0F)) * ONES) >> U(56)


@inner
def hash_bytes(buffer: Any, at: Any, end: Any, seed: Any) -> Any:
    """The hash of `buffer[at:end]`, uint64; of up to 64 ASCII letters the same as `_letters` in
    `segment.py`. For tables in memory only: it can be inverted.

    Args:
        buffer: `(size,) uint8`; `at`, `end`: uint64 offsets.
        seed: uint64.
    """
    hashed = seed
    while at + U(8) <= end:
        hashed = mix(hashed ^ load_bytes(buffer, at))
        at += U(8)
    if at < end:
        rest = (U(1) << ((end - at) * U(8))) - U(1)
        hashed = mix(hashed ^ (load_bytes(buffer, at) & rest))
    return hashed


@inner
def character(buffer: Any, at: Any) -> tuple[Any, Any]:
    """The code point at `at` and its size in bytes, both uint64.

    Args:
        buffer: `(size,) uint8`, valid UTF-8; `at`: uint64 offset of the first byte.
    """
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
