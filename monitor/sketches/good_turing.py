"""Novelty: the probability that a key's next prompt is of a kind that it has not sent before.

Good and Turing: among n draws, the share of kinds seen exactly once estimates the probability mass
of all kinds not seen yet (I. J. Good, Biometrika 40, 1953). The kinds are coarse cells of meaning
space. Each cell counts 0, 1, or 2 and more in one of 128 two-bit slots. A generation covers 64
prompts; the current and the previous generation are kept. Cells that share a slot hide each other:
with m slots and n prompts a share (1 - 1/m)^(n-1) stays visible, and the estimate is divided by it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.kernels.jit import jit

SLOTS = 128
BYTES = SLOTS // 4
GENERATION = 64  # prompts
_MAX_COUNT = 2

Counters = npt.NDArray[np.uint8]


@jit
def add(generations: Any, prompts: int, hashed: int) -> None:
    """Add one prompt.

    Args:
        generations: `(2, BYTES) uint8`, the current generation and the previous; updated in place.
        prompts: number of prompts added before.
        hashed: uint64, well mixed hash of the prompt's cell.
    """
    if prompts and prompts % GENERATION == 0:
        for i in range(BYTES):
            generations[1, i] = generations[0, i]
            generations[0, i] = 0
    slot = np.int64(hashed & np.uint64(SLOTS - 1))
    shift = (slot & 3) * 2
    byte = generations[0, slot >> 2]
    if (byte >> shift) & 3 < _MAX_COUNT:
        generations[0, slot >> 2] = byte + (1 << shift)


def novelty(generations: Counters, prompts: Any) -> npt.NDArray[np.float64]:
    """Estimate the novelty of n keys.

    Args:
        generations: `(n, 2, BYTES) uint8`.
        prompts: `(n,)`, prompts added per key.

    Returns:
        `(n,) float64` in [0, 1]; 1 for a key without prompts.
    """
    counts = np.stack([(generations >> shift) & 3 for shift in (0, 2, 4, 6)], axis=-1)
    once = (counts == 1).sum(axis=(-1, -2)).astype(np.float64)  # (n, 2)
    n = np.asarray(prompts, np.float64)
    current = np.where(n > 0, (n - 1) % GENERATION + 1, 0.0)
    drawn = np.stack([current, np.where(n > GENERATION, GENERATION, 0.0)], axis=-1)
    visible = drawn * (1.0 - 1.0 / SLOTS) ** np.maximum(drawn - 1.0, 0.0)
    total = visible.sum(axis=-1)
    estimate = np.where(total > 0, once.sum(axis=-1) / np.maximum(total, 1e-9), 1.0)
    return np.minimum(estimate, 1.0)
