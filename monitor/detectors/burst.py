"""Burst: far more requests or tokens than ordinary keys, and than this key itself, ever send.

Copying a model takes volume, and a schedule. A rate limit knows one number for everybody; this
asks two questions over a minute, five minutes, an hour and a day, of requests and of tokens. Of
all ordinary keys, what share ever reaches this on a day (see `records/baseline.py`)? And for a key
with a past of its own, how far is it from its own hours? Only what is beyond both is a burst: a
large customer's usual day passes, and so does a small one's busy hour.

Looking continuously is paid for. The public's distribution is that of the day's highest value,
and the key's own is taken 24 times, once an hour; the eight statistics share the error equally
(Bonferroni).

The key's own past is summarised by the mean and variance of its hourly peaks, on the log scale;
a new hour is judged by a Student t with 8 degrees of freedom, heavy-tailed as usage is, with the
variance shrunk towards one octave while the past is short.

>>> from monitor.sketches.profile import RECORD
>>> from monitor.sketches.public import Public, shipped_reference
>>> nobody = Profile(np.zeros(1, RECORD))
>>> float(Burst()(nobody, Public(shipped_reference())).p[0])
1.0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from monitor.detectors.base import Finding, Floats
from monitor.records.baseline import Baseline
from monitor.records.profile import REQUESTS, SCALES, TOKENS, Profile

_WINDOWS = np.array([60.0, 300.0, 3600.0, 86_400.0])
_BOTH = slice(REQUESTS.start, TOKENS.stop)
_MOST = 100_000  # keys: beyond this the tail is too much of an extrapolation to quote
_STATISTICS = _BOTH.stop - _BOTH.start


@dataclass(frozen=True, slots=True)
class Burst:
    """Requests and tokens against the public and against the key's own past.

    Attributes:
        past_hours: active hours before a key's own past has a say.
    """

    past_hours: float = 6.0
    name = "burst"

    def __call__(self, keys: Profile, baseline: Baseline) -> Finding:
        level = keys.level[:, _BOTH]
        by_public = baseline.tail(_BOTH, level)
        by_past = self._own_tail(keys, level)
        p = np.maximum(by_public, by_past)
        which = p.argmin(axis=1)
        each = np.arange(len(keys))
        scale = which % len(SCALES)
        counts = keys.counts
        evidence = {
            **{f"requests_{name}": counts[:, i] for i, name in enumerate(SCALES)},
            "tokens_1h": counts[:, TOKENS.start + 2],
            "ordinary_share": by_public[each, which],
            "own_usual": np.exp2(keys["own_mean"][each, which]) - 1.0,
            "own_hours": keys["own_hours"].astype(np.float64),
            "window_seconds": _WINDOWS[scale],
            "of_tokens": (which >= len(SCALES)).astype(np.float64),
            "in_window": counts[each, which],
        }
        start = np.maximum(keys["last_seen"] - _WINDOWS[scale], keys["first_seen"])
        return Finding(np.minimum(p[each, which] * _STATISTICS, 1.0), start, evidence)

    def _own_tail(self, keys: Profile, level: Floats) -> Floats:
        hours = keys["own_hours"].astype(np.float64)[:, None]
        mean = keys["own_mean"][:, _BOTH].astype(np.float64)
        variance = (hours * keys["own_variance"][:, _BOTH] + 4.0) / (hours + 4.0)
        t = (level - mean) / np.sqrt(variance * (1.0 + 1.0 / np.maximum(hours, 1.0)))
        tail = np.minimum(24.0 * student_8(t), 1.0)
        return np.where(hours >= self.past_hours, tail, 0.0)

    def summary(self, evidence: Mapping[str, float]) -> str:
        unit = "tokens" if evidence["of_tokens"] else "requests"
        window = SCALES[int(np.searchsorted(_WINDOWS, evidence["window_seconds"]))]
        keys = min(1 / evidence["ordinary_share"], _MOST)
        fewer = "fewer than " if keys == _MOST else ""
        return (
            f"{evidence['in_window']:,.0f} {unit} in {window}; "
            f"{fewer}one ordinary key in {keys:,.0f} gets there on a day"
        )


def student_8(t: Floats) -> Floats:
    """Upper tail of Student's t with 8 degrees of freedom, which has a closed form.

    Abramowitz and Stegun, 26.7.4; far out, where that would cancel, by its leading term.
    """
    cosine2 = 1.0 / (1.0 + t * t / 8.0)
    sine = t * np.sqrt(cosine2 / 8.0)
    within = sine * (1.0 + cosine2 * (1 / 2 + cosine2 * (3 / 8 + cosine2 * 5 / 16)))
    far = 560.0 / np.maximum(np.abs(t), 1.0) ** 8
    return np.clip(np.where(t > 100.0, far, (1.0 - within) / 2.0), 0.0, 1.0)
