"""How a key is used, from its fingerprint: mean prompt, follow-ups, requests per hour."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from monitor.campaigns.fingerprint import Fingerprints
from monitor.prompts.projection import CONTENT, SCALE
from monitor.records.profile import HALF_LIVES, HOUR, LONG
from monitor.sketches.habits import HALF_LIFE
from monitor.sketches.kernel_mean import KernelMeans

Floats = npt.NDArray[np.float64]


def content(fingerprints: Fingerprints) -> KernelMeans:
    """The mean prompts of n fingerprints."""
    sums, count = fingerprints["content"], fingerprints["sketch_prompts"]
    return KernelMeans.from_stored(sums, count, HALF_LIVES[-1], SCALE, CONTENT)


def follow_ups(fingerprints: Fingerprints) -> Floats:
    """The share of follow-ups `(n,)`, NaN if unknown: the record's mean starts at 0."""
    seen = 1.0 - 0.5 ** (fingerprints["requests"] / HALF_LIFE)
    return np.minimum(fingerprints["follow_ups"] / np.maximum(seen, 1e-9), 1.0).astype(np.float64)


def hours(fingerprints: Fingerprints) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Requests per hour of n keys, the newest hour first.

    Returns:
        `(n, LONG.panes)` requests, and which hours are complete: neither the current one nor the
        one in which the key was first seen.
    """
    head = fingerprints["long_head"].astype(np.int64)[:, None]
    first = np.floor(fingerprints["first_seen"] / HOUR).astype(np.int64)[:, None]
    age = np.arange(LONG.panes)[None, :]
    counts = np.take_along_axis(
        fingerprints["long_requests"].astype(np.float64), (head - age) % LONG.panes, axis=1
    )
    known = age <= head - first
    return counts * known, known & (age > 0) & (age < head - first)


def rhythm(fingerprints: Fingerprints) -> tuple[Floats, Floats]:
    """Rate and unevenness since a key was first seen, over at most a day; `(n,)` each.

    Unevenness is the squared coefficient of variation beyond that of a Poisson process.
    """
    counts, complete = hours(fingerprints)
    span = (fingerprints["ts"] - fingerprints["first_seen"]) / HOUR
    span = np.minimum(span, LONG.panes - 0.5)
    rate = np.log2(np.maximum(counts.sum(axis=1), 1.0) / np.maximum(span, 0.25))
    n = complete.sum(axis=1)
    mean = (counts * complete).sum(axis=1) / np.maximum(n, 1)
    variance = (((counts - mean[:, None]) * complete) ** 2).sum(axis=1) / np.maximum(n - 1, 1)
    uneven = np.maximum(variance - mean, 0.0) / np.maximum(mean, 1e-9) ** 2
    known = (n >= 3) & (mean > 0)
    return rate, np.where(known, np.log2(0.03125 + np.minimum(uneven, 32.0)), np.nan)
