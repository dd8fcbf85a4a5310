"""Burst: far more requests or tokens than ordinary keys send, and than this key has sent before.

Extracting a model takes volume, and a schedule. A rate limit has one number for everybody. This
detector asks two questions over 1 minute, 5 minutes, 1 hour and 24 hours, of requests and of
tokens. Which share of all ordinary keys reaches this in a day (`records/baseline.py`)? And how far
is it from this key's own usual hours? Only what exceeds both is a burst: a large customer's usual
day passes, and so does a small customer's busy hour.

On its first days a key has no past, and its volume shows little. Large applications are rare, and
each is larger than all others on the day it starts. So the tail of new keys is that of the clients
of a real service (CLIENTS_EXCESS), and their bursts never open more than an info alert.

Evaluating continuously has its price. The baseline is the distribution of the day's highest value;
the key's own tail is multiplied by 24, once per hour. The eight statistics share the error equally
(Bonferroni).

The key's own past is the mean and variance of its hourly peaks on a log scale. A new hour is tested
with Student's t with 8 degrees of freedom, heavy-tailed as usage is. The variance is shrunk towards
one octave while the past is short.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from monitor.detectors.base import (
    ORDINARY_SHARE,
    Evidence,
    Finding,
    Floats,
    counted,
)
from monitor.records.baseline import Baseline
from monitor.records.profile import DAY, PAST_DAYS, PAST_HOURS, REQUESTS, SCALES, TOKENS, Profile

#: Mean excess of a client's hourly requests over the 80th percentile of all clients, in octaves:
#: 356 clients of a public service on one day (ServeGen; Y. Xiang et al., arXiv:2505.09999, 2025).
CLIENTS_EXCESS = 1.8

_VOLUME = slice(REQUESTS.start, TOKENS.stop)
_WINDOW_SECONDS = np.array([60.0, 300.0, 3600.0, 86_400.0])
_WINDOW_NAMES = ("1 minute", "5 minutes", "1 hour", "24 hours")
_RAREST = 100_000  # 1 in this many keys; a rarer tail is extrapolated too far to be reported
_COMMON = 0.5  # share of ordinary keys that reach a volume; from here on it is not unusual


@dataclass(frozen=True, slots=True)
class Burst:
    """Requests and tokens compared with ordinary keys and with the key's own past.

    Attributes:
        past_days: days since the first request before the key's own past counts.
        past_hours: active hours before it counts.
        new_floor: smallest probability reported of a key without such a past.
    """

    past_days: float = PAST_DAYS
    past_hours: float = PAST_HOURS
    new_floor: float = 1e-3
    name: ClassVar[str] = "burst"
    slot: ClassVar[int] = 0
    levels: ClassVar[Sequence[int]] = range(_VOLUME.start, _VOLUME.stop)
    evidence: ClassVar[Mapping[str, Evidence]] = {
        **{
            f"requests_{scale}": Evidence("count", level=REQUESTS.start + i)
            for i, scale in enumerate(SCALES)
        },
        "tokens_1h": Evidence("count", level=TOKENS.start + SCALES.index("1h")),
        **ORDINARY_SHARE,
        "own_usual": Evidence("count", "own average"),
        "own_hours": Evidence("hours", "hours of history"),
        "window_seconds": Evidence("seconds", shown=False),
        "of_tokens": Evidence("score", shown=False),
        "in_window": Evidence("count", shown=False),
    }

    def __call__(self, keys: Profile, baseline: Baseline) -> Finding:
        """Evaluate n keys."""
        level = keys.level[:, _VOLUME]
        age = keys["last_seen"] - keys["first_seen"]
        known = (age >= self.past_days * DAY) & (keys["own_hours"] >= self.past_hours)
        excess = np.where(known, 0.0, CLIENTS_EXCESS)[:, None]
        by_baseline = baseline.tail(_VOLUME, level, excess)
        by_past = np.where(known[:, None], self._own_tail(keys, level), 0.0)
        p = np.maximum(by_baseline, by_past)
        which = p.argmin(axis=1)
        each = np.arange(len(keys))
        scale = which % len(SCALES)

        def evidence() -> Mapping[str, Floats]:
            counts = keys.counts
            return {
                **{f"requests_{name}": counts[:, i] for i, name in enumerate(SCALES)},
                "tokens_1h": counts[:, TOKENS.start + SCALES.index("1h")],
                "ordinary_share": by_baseline[each, which],
                "own_usual": np.exp2(keys["own_mean"][each, which]) - 1.0,
                "own_hours": keys["own_hours"].astype(np.float64),
                "window_seconds": _WINDOW_SECONDS[scale],
                "of_tokens": (which >= len(SCALES)).astype(np.float64),
                "in_window": counts[each, which],
            }

        start = np.maximum(keys["last_seen"] - _WINDOW_SECONDS[scale], keys["first_seen"])
        floor = np.where(known, 0.0, self.new_floor)
        return Finding(np.clip(p[each, which] * len(self.levels), floor, 1.0), start, evidence)

    def _own_tail(self, keys: Profile, level: Floats) -> Floats:
        """Probability of such levels under the key's own past, `(n, 8) float64`."""
        hours = keys["own_hours"].astype(np.float64)[:, None]
        mean = keys["own_mean"][:, _VOLUME].astype(np.float64)
        variance = (hours * keys["own_variance"][:, _VOLUME] + 4.0) / (hours + 4.0)
        t = (level - mean) / np.sqrt(variance * (1.0 + 1.0 / np.maximum(hours, 1.0)))
        return np.minimum(24.0 * student_8(t), 1.0)

    def summary(self, evidence: Mapping[str, float]) -> str:
        """The volume in the decisive window, and how rare it is."""
        window = _WINDOW_NAMES[int(np.searchsorted(_WINDOW_SECONDS, evidence["window_seconds"]))]
        noun = "token" if evidence["of_tokens"] else "request"
        volume = f"{counted(evidence['in_window'], noun)} in {window}"
        if evidence["ordinary_share"] >= _COMMON:
            return f"nothing unusual: {volume}"
        keys = 1 / evidence["ordinary_share"]
        if keys >= _RAREST:
            return f"{volume}; fewer than 1 in {_RAREST:,} ordinary keys reach this in a day"
        return f"{volume}; 1 in {keys:,.0f} ordinary keys reaches this in a day"


def student_8(t: Floats) -> Floats:
    """Upper tail of Student's t with 8 degrees of freedom, in closed form.

    Abramowitz and Stegun, 26.7.4. Far out, where that would cancel, its leading term.
    """
    cosine2 = 1.0 / (1.0 + t * t / 8.0)
    sine = t * np.sqrt(cosine2 / 8.0)
    within = sine * (1.0 + cosine2 * (1 / 2 + cosine2 * (3 / 8 + cosine2 * 5 / 16)))
    far = 560.0 / np.maximum(np.abs(t), 1.0) ** 8
    return np.clip(np.where(t > 100.0, far, (1.0 - within) / 2.0), 0.0, 1.0)
