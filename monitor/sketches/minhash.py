"""MinHash: how much two sets have in common, from a few numbers of each.

For each of 16 hash functions the extreme value over the set is kept; two sets agree in a place
with the probability of their Jaccard similarity (A. Broder, SEQUENCES 1997). The largest is kept,
not the smallest, so that zeros mean an empty set. Sketches merge by the maximum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.kernels.jit import jit

PLACES = 16
ERROR = 0.5 / PLACES**0.5  # standard, at a similarity of one half, where it is largest

Places = npt.NDArray[np.uint32]


@jit
def note(places: Any, hashed: int) -> None:
    """Take 64 well mixed bits of an element into `(PLACES,) uint32`."""
    x = np.uint64(hashed)
    for i in range(PLACES):
        x += np.uint64(0x9E3779B97F4A7C15)
        y = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        y = (y ^ (y >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        value = np.uint32(y >> np.uint64(32))
        if value > places[i]:
            places[i] = value


def merged(one: Places, other: Places) -> Places:
    """The sketch of the union, `(…, PLACES) uint32`."""
    return np.maximum(one, other)


def similarity(one: Places, other: Places) -> npt.NDArray[np.float64]:
    """The estimate of the Jaccard similarity; 0 where a set is empty."""
    some = one.any(axis=-1) & other.any(axis=-1)
    return np.where(some, (one == other).mean(axis=-1), 0.0)
