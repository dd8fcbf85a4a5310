"""Habits: which models a key uses, and at which hours of the day.

Shares of models are a space-saving list of four (Metwally, Agrawal, El Abbadi, ICDT 2005) whose
counts fade with a half-life of 64 requests: a model that is new to the list takes the place of the
least used one and inherits its count, so a count is never too low, and too high by no more than
the inherited part. The rhythm is a histogram of hours of the day (UTC), halved when an hour has
255.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.kernels.jit import jit
from monitor.sketches.kernel_mean import decay

MODELS = 4
HOURS = 24
LATELY = 64.0  # half-life, requests
_FADE = decay(LATELY)
_FULL = 255


@jit
def note_model(names: Any, counts: Any, hashed: int) -> bool:
    """Count a request to a model; whether it is new to the list.

    Args:
        names: `(MODELS,) uint32`, 0 for an empty place, updated in place.
        counts: `(MODELS,) float32`, updated in place.
        hashed: which model, 32 bits of its hash; 0 where it is not known.
    """
    if hashed == 0:
        return False
    least, place = 0, -1
    for i in range(MODELS):
        counts[i] *= np.float32(_FADE)
        if names[i] == hashed:
            place = i
        if counts[i] < counts[least]:
            least = i
    new = place < 0
    if new:
        place = least
        names[place] = hashed
    counts[place] += np.float32(1.0)
    return new


@jit
def note_hour(rhythm: Any, hour: int) -> None:
    """Count a request at an hour of the day in `(HOURS,) uint8`."""
    if rhythm[hour] == _FULL:
        for i in range(HOURS):
            rhythm[i] >>= 1
    rhythm[hour] += 1


def merged_rhythm(
    one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]
) -> npt.NDArray[np.int64]:
    """Both keys' requests by hour of the day, each `(…, HOURS)`."""
    return one.astype(np.int64) + other


def merged_models(one: dict[int, float], other: dict[int, float]) -> dict[int, float]:
    """Counts by model of both keys together."""
    return {name: one.get(name, 0.0) + other.get(name, 0.0) for name in one | other}


def shares(names: npt.NDArray[np.uint32], counts: npt.NDArray[np.float32]) -> dict[int, float]:
    """The counts of one key by model."""
    return {int(name): float(count) for name, count in zip(names, counts, strict=True) if name}
