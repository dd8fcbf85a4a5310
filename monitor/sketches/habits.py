"""Habits: which models a key uses, and at which hours of the day.

Model shares are a space-saving list of four (Metwally, Agrawal, El Abbadi, ICDT 2005) whose counts
decay with a half-life of 64 requests. A name that is not in the list replaces the least used one
and inherits its count, so a count is never too low, and too high by at most the inherited part. The
rhythm is a histogram of requests by hour of the day (UTC); all its counts are halved when one
reaches 255.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.kernels.jit import jit
from monitor.sketches.kernel_mean import decay

MODELS = 4
HOURS = 24
HALF_LIFE = 64.0  # requests
DECAY = decay(HALF_LIFE)
_FULL = 255


@jit
def add_name(names: Any, counts: Any, hashed: int, decay: float) -> bool:
    """Count a request in a space-saving list of names: of models, networks or clients.

    Args:
        names: `(k,) uint32`, hashes of the listed names, 0 for an empty place; updated in place.
        counts: `(k,) float32`, decayed requests; updated in place.
        hashed: uint32, hash of the request's name, 0 if it has none.
        decay: factor on all counts per request.

    Returns:
        Whether the name was not in the list.
    """
    if hashed == 0:
        return False
    smallest, place = 0, -1
    for i in range(len(names)):
        counts[i] *= np.float32(decay)
        if names[i] == hashed:
            place = i
        if counts[i] < counts[smallest]:
            smallest = i
    new = place < 0
    if new:
        place = smallest
        names[place] = hashed
    counts[place] += np.float32(1.0)
    return new


@jit
def add_hour(rhythm: Any, hour: int) -> None:
    """Count a request in `rhythm`, `(HOURS,) uint8`, at an hour of the day (UTC)."""
    if rhythm[hour] == _FULL:
        for i in range(HOURS):
            rhythm[i] >>= 1
    rhythm[hour] += 1


def model_counts(
    names: npt.NDArray[np.uint32], counts: npt.NDArray[np.float32]
) -> dict[int, float]:
    """Decayed requests by model hash, from one key's `(MODELS,)` names and counts."""
    return {int(name): float(count) for name, count in zip(names, counts, strict=True) if name}
