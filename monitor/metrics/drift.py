"""Drift: how far the ordinary keys of a deployment are from the reference.

The thresholds hold for keys like those of the reference. The population stability index compares,
for each statistic, the distribution of the day's peaks over keys with that of the reference:
Σ (p - q) ln(p / q) over bins that have tenths of the reference's keys, and its top 5% and 1%. By
convention 0.1 is small and 0.25 is large. The histograms are those of the baseline, so observing a
request costs nothing.

The reference has all keys of its days, the baseline of a deployment only those with at least
VOTE_REQUESTS requests. The others are the lowest in every statistic, more or less. So their share
is taken off the lower end of the reference.

A sample of keys differs from its reference by chance. Without drift the index is about
(1/n + 1/m) times a chi-squared variable with one degree of freedom fewer than bins (B. Yurdakul,
Statistical Properties of the Population Stability Index, Western Michigan University, 2018). Its
mean is subtracted, so that few keys do not look like drift.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from monitor.prompts.lexicon import INTENTS
from monitor.records.baseline import VOTE_REQUESTS
from monitor.records.profile import BINS, LEVELS, PER_LEVEL, SCALES

Period = Literal["past", "today"]
PERIODS: tuple[Period, ...] = ("past", "today")
MIN_KEY_DAYS = 100.0  # below which the index is reported as 0

_QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_LEAST = 0.5  # key-days added to each bin, so that an empty one has a logarithm
#: Names of the levels of a record, in their order.
STATISTICS = (
    *(f"requests_{scale}" for scale in SCALES),
    *(f"tokens_{scale}" for scale in SCALES),
    *(f"elicitation_{intent}" for intent in INTENTS),
    *("like_code", "like_reasoning", "like_sweep", "like_cot", "like_grader"),
    *("breadth", "automation", "pivot", "templates", "combined", "takeover", "harvest"),
    "like_tools",
)

Counts = npt.NDArray[np.float64]


class Drift:
    """The population stability index of each statistic.

    Args:
        reference: `(LEVELS, BINS) float64`, key-days of the reference by peak of the day.
    """

    def __init__(self, reference: Counts) -> None:
        reference = of_voters(reference)
        self._starts = [_starts(counts) for counts in reference]
        self._reference = [
            _shares(counts, starts) for counts, starts in zip(reference, self._starts, strict=True)
        ]
        self._key_days = reference.sum(axis=1)

    def __call__(self, counts: Counts) -> Counts:
        """The index of each statistic, `(LEVELS,) float64`, 0 where there is too little to say.

        Args:
            counts: `(LEVELS, BINS) float64`, key-days of the deployment by peak of the day.
        """
        index = np.zeros(LEVELS)
        for i, key_days in enumerate(counts.sum(axis=1).tolist()):
            bins = len(self._starts[i])
            if bins > 1 and key_days >= MIN_KEY_DAYS:
                p, q = _shares(counts[i], self._starts[i]), self._reference[i]
                by_chance = (bins - 1) * (1.0 / key_days + 1.0 / self._key_days[i])
                index[i] = max(float((p - q) @ np.log(p / q)) - by_chance, 0.0)
        return index


def of_voters(reference: Counts) -> Counts:
    """The reference without its lowest keys: as many as have too few requests to count.

    Of the bin in which VOTE_REQUESTS lies, the keys with fewer are below it.
    """
    requests = reference[STATISTICS.index("requests_24h")]
    few = float(requests[: int(np.log2(1.0 + VOTE_REQUESTS) * PER_LEVEL)].sum())
    share = few / max(float(requests.sum()), 1.0)
    off = share * reference.sum(axis=1, keepdims=True)
    above = np.maximum(np.cumsum(reference, axis=1) - off, 0.0)
    return np.diff(above, axis=1, prepend=0.0)


def _starts(counts: Counts) -> npt.NDArray[np.int64]:
    """The first bin of each group of bins between quantiles of the reference."""
    total = float(counts.sum())
    if total < MIN_KEY_DAYS:
        return np.zeros(1, np.int64)
    below = np.cumsum(counts) / total
    starts = np.searchsorted(below, _QUANTILES) + 1
    return np.unique(np.append(0, starts[starts < BINS]))


def _shares(counts: Counts, starts: npt.NDArray[np.int64]) -> Counts:
    """The share of key-days in each group of bins."""
    grouped = np.add.reduceat(np.maximum(counts, 0.0), starts) + _LEAST
    return np.asarray(grouped / grouped.sum())
