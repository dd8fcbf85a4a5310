"""Distinct counts: how many different things a key has shown, in 32 bytes a kind.

HyperLogLog with 64 registers of four bits: the largest number of trailing zeros among the hashes
that fell to a register. A standard error of 13%, up to about a million. Sketches merge by the
maximum.

Source: O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017),
algorithm 6, which needs neither bias tables nor a switch for small counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.kernels.jit import jit

REGISTERS = 64
BYTES = REGISTERS // 2
_LARGEST = 15  # of a register
ERROR = 1.04 / REGISTERS**0.5  # standard, relative

Registers = npt.NDArray[np.uint8]


@jit
def note(registers: Any, hashed: int) -> None:
    """Take 64 well mixed bits of a thing into `(BYTES,) uint8`."""
    where = np.int64(hashed & np.uint64(REGISTERS - 1))
    rest = hashed >> np.uint64(6)
    zeros = 1
    while zeros < _LARGEST and not rest & np.uint64(1):
        rest >>= np.uint64(1)
        zeros += 1
    shift = (where & 1) * 4
    byte = registers[where >> 1]
    if zeros > (byte >> shift) & 15:
        registers[where >> 1] = (byte & ~(15 << shift)) | (zeros << shift)


@jit
def roughly(registers: Any) -> float:
    """The estimate of one sketch, inside a kernel: the first one (P. Flajolet et al., AofA 2007),
    with linear counting where registers are empty."""
    empty, total = 0, 0.0
    for i in range(REGISTERS):
        value = (registers[i >> 1] >> ((i & 1) * 4)) & 15
        empty += value == 0
        total += 0.5**value
    found = 0.709 * REGISTERS * REGISTERS / total
    if found <= 2.5 * REGISTERS and empty > 0:
        found = REGISTERS * np.log(REGISTERS / empty)
    return float(found)


def _unpacked(registers: Registers) -> Registers:
    return np.stack([registers & 15, registers >> 4], axis=-1).reshape(*registers.shape[:-1], -1)


def merged(one: Registers, other: Registers) -> Registers:
    """The sketch of what was shown to either, `(…, BYTES) uint8`."""
    low = np.maximum(one & 15, other & 15)
    high = np.maximum(one & 0xF0, other & 0xF0)
    both: Registers = low | high
    return both


def estimate(registers: Registers) -> npt.NDArray[np.float64]:
    """How many different things were shown to sketches `(…, BYTES) uint8`."""
    values = _unpacked(registers)
    counts = np.stack([(values == k).sum(axis=-1) for k in range(_LARGEST + 1)]).astype(float)
    z = REGISTERS * _tau(1.0 - counts[_LARGEST] / REGISTERS)
    for k in range(_LARGEST - 1, 0, -1):
        z = 0.5 * (z + counts[k])
    z = z + REGISTERS * _sigma(counts[0] / REGISTERS)
    found: npt.NDArray[np.float64] = REGISTERS**2 / (2.0 * np.log(2.0) * z)
    return found


def _sigma(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """x + Σ x^(2^k)·2^(k-1); infinite at 1, where nothing was shown."""
    total, power, factor = x.copy(), x.copy(), 1.0
    for _ in range(24):
        power = power * power
        total += power * factor
        factor *= 2.0
    return np.where(x == 1.0, np.inf, total)


def _tau(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(1 - x - Σ (1 - x^(2^-k))²·2^-k) / 3; zero at 0 and 1."""
    total, root, factor = 1.0 - x, x.copy(), 1.0
    for _ in range(48):
        root = np.sqrt(root)
        factor *= 0.5
        total = total - (1.0 - root) ** 2 * factor
    return np.where((x == 0.0) | (x == 1.0), 0.0, total / 3.0)
