"""Novelty: the chance that a key's next prompt is of a kind that it has never sent.

Good and Turing: among n draws, the share seen exactly once estimates the mass of what has not been
seen at all (I. J. Good, Biometrika 40, 1953). The kinds are coarse cells of meaning space; each
counts 0, 1, 2 or more in one of 128 slots of two bits, for a generation of 64 prompts, and the
generation before is kept. Cells that share a slot hide singletons: with m slots and n prompts a
share (1 - 1/m)^(n-1) stays visible, by which the estimate is divided. Generations merge slot by
slot, counts added up to "2 or more".
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.kernels.jit import jit

SLOTS = 128
BYTES = SLOTS // 4
GENERATION = 64  # prompts
MOST = 2

Counters = npt.NDArray[np.uint8]


@jit
def note(generations: Any, prompts: int, hashed: int) -> None:
    """Take a prompt into `(2, BYTES) uint8`, the current generation and the one before.

    Args:
        generations: updated in place.
        prompts: how many came before this one.
        hashed: well mixed bits of its cell.
    """
    if prompts and prompts % GENERATION == 0:
        for i in range(BYTES):
            generations[1, i] = generations[0, i]
            generations[0, i] = 0
    slot = np.int64(hashed & np.uint64(SLOTS - 1))
    shift = (slot & 3) * 2
    byte = generations[0, slot >> 2]
    if (byte >> shift) & 3 < MOST:
        generations[0, slot >> 2] = byte + (1 << shift)


def merged(one: Counters, other: Counters) -> Counters:
    """The generations of both keys together, `(…, BYTES) uint8`."""
    total = np.zeros_like(one)
    for shift in (0, 2, 4, 6):
        total |= np.minimum(((one >> shift) & 3) + ((other >> shift) & 3), MOST) << shift
    return total


def novelty(generations: Counters, prompts: Any) -> npt.NDArray[np.float64]:
    """The estimate for n keys, in [0, 1]; 1 while there are no prompts.

    Args:
        generations: `(n, 2, BYTES) uint8`.
        prompts: `(n,)`, how many each key has sent in all.
    """
    counts = np.stack([(generations >> shift) & 3 for shift in (0, 2, 4, 6)], axis=-1)
    once = (counts == 1).sum(axis=(-1, -2)).astype(np.float64)  # (n, 2)
    n = np.asarray(prompts, np.float64)
    now = np.where(n > 0, (n - 1) % GENERATION + 1, 0.0)
    drawn = np.stack([now, np.where(n > GENERATION, GENERATION, 0.0)], axis=-1)
    visible = drawn * (1.0 - 1.0 / SLOTS) ** np.maximum(drawn - 1.0, 0.0)
    total = visible.sum(axis=-1)
    found = np.where(total > 0, once.sum(axis=-1) / np.maximum(total, 1e-9), 1.0)
    return np.minimum(found, 1.0)
