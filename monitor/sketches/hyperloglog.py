"""Distinct counts: how many different values a key has shown, in 32 bytes per kind.

HyperLogLog with 64 four-bit registers. Each holds the largest number of trailing zeros among the
hashes that fall to it. The standard error is 13%, up to about a million. Sketches merge by the
maximum of each register.

Source: O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017),
algorithm 6, which needs neither bias tables nor a switch for small counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.kernels.jit import cached_jit, jit

REGISTERS = 64
BYTES = REGISTERS // 2
_MAX = 15  # value of a register
ERROR = 1.04 / REGISTERS**0.5  # relative standard error
_TWO_LN2 = 2.0 * float(np.log(2.0))

Registers = npt.NDArray[np.uint8]


@jit
def add(registers: Any, hashed: int) -> None:
    """Add one value to a sketch.

    Args:
        registers: `(BYTES,) uint8`, updated in place.
        hashed: uint64, well mixed hash of the value.
    """
    where, zeros = _place(hashed)
    shift = (where & 1) * 4
    byte = registers[where >> 1]
    if zeros > (byte >> shift) & 15:
        registers[where >> 1] = (byte & ~(15 << shift)) | (zeros << shift)


@jit
def may_have(registers: Any, hashed: int) -> bool:
    """Whether a value may be in a sketch, `(BYTES,) uint8`; if not, it is new.

    Args:
        hashed: as in `add`.
    """
    where, zeros = _place(hashed)
    return bool(zeros <= (registers[where >> 1] >> ((where & 1) * 4)) & 15)


@jit
def _place(hashed: int) -> tuple[Any, int]:
    """The register of a hash, and what it counts there."""
    where = np.int64(hashed & np.uint64(REGISTERS - 1))
    rest = hashed >> np.uint64(6)
    zeros = 1
    while zeros < _MAX and not rest & np.uint64(1):
        rest >>= np.uint64(1)
        zeros += 1
    return where, zeros


@jit
def estimate_one(registers: Any) -> float:
    """Estimate the count of one sketch, `(BYTES,) uint8`, inside a kernel.

    The original estimator (P. Flajolet et al., AofA 2007), with linear counting while registers are
    empty.
    """
    empty, total = 0, 0  # the sum of 2^-value in units of 2^-_MAX
    for i in range(BYTES):
        low, high = registers[i] & 15, registers[i] >> 4
        empty += (low == 0) + (high == 0)
        total += (1 << (_MAX - low)) + (1 << (_MAX - high))
    count = 0.709 * REGISTERS * REGISTERS / (total / (1 << _MAX))
    if count <= 2.5 * REGISTERS and empty > 0:
        count = REGISTERS * np.log(REGISTERS / empty)
    return float(count)


def estimate(registers: Registers) -> npt.NDArray[np.float64]:
    """Estimate the counts of sketches `(…, BYTES) uint8`; returns `(…) float64`."""
    sketches = np.ascontiguousarray(registers).reshape(-1, BYTES)
    return np.asarray(_estimate(sketches).reshape(registers.shape[:-1]))


@cached_jit(error_model="numpy")  # a division by 0 is infinite
def _estimate(sketches: Any) -> Any:
    """Estimate the counts of n sketches `(n, BYTES) uint8`; returns `(n,) float64`."""
    found, counts = np.empty(len(sketches)), np.empty(_MAX + 1)
    for i in range(len(sketches)):
        counts[:] = 0.0
        for byte in sketches[i]:
            counts[byte & 15] += 1.0
            counts[byte >> 4] += 1.0
        z = REGISTERS * _tau(1.0 - counts[_MAX] / REGISTERS)
        for k in range(_MAX - 1, 0, -1):
            z = 0.5 * (z + counts[k])
        z = z + REGISTERS * _sigma(counts[0] / REGISTERS)
        found[i] = REGISTERS**2 / (_TWO_LN2 * z)
    return found


@jit
def _sigma(x: float) -> float:
    """x + Σ x^(2^k)·2^(k-1); infinite at 1, the empty sketch."""
    if x == 1.0:
        return np.inf
    total, power, factor = x, x, 1.0
    for _ in range(24):
        power = power * power
        total += power * factor
        factor *= 2.0
    return total


@jit
def _tau(x: float) -> float:
    """(1 - x - Σ (1 - x^(2^-k))²·2^-k) / 3; zero at 0 and 1."""
    if x in (0.0, 1.0):
        return 0.0
    total, root, factor = 1.0 - x, x, 1.0
    for _ in range(48):
        root = np.sqrt(root)
        factor *= 0.5
        total = total - (1.0 - root) ** 2 * factor
    return total / 3.0
