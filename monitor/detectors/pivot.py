"""Pivot: a key that moves to a model it has never used, and asks more of it than before.

Whoever copies models follows their releases: within a day of one, most of a campaign's traffic
goes there. The move is dated by its first request (`records/behaviour.py`), and what came since is
held against the rate that the key had before: the log-likelihood ratio of two Poisson rates, times
the share of requests that moved. A day after the move it is no news any more.

On the day of a release honest keys move too, and nobody knows yet how many. The public learns it
when the day is over; until then a pivot is a sign, and never a case of its own.

>>> from monitor.sketches.profile import RECORD
>>> from monitor.sketches.public import Public, shipped_reference
>>> nobody = Profile(np.zeros(1, RECORD))
>>> float(Pivot()(nobody, Public(shipped_reference())).p[0])
1.0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from monitor.detectors.base import Finding
from monitor.records.baseline import Baseline
from monitor.records.profile import HOUR, PIVOT, Profile


@dataclass(frozen=True, slots=True)
class Pivot:
    """A move to a new model with a rise in rate, against the public.

    Attributes:
        floor: no probability is smaller.
    """

    floor: float = 1e-3
    name = "pivot"

    def __call__(self, keys: Profile, baseline: Baseline) -> Finding:
        level = keys.level[:, PIVOT]
        share = baseline.tail(slice(PIVOT, PIVOT + 1), level[:, None])[:, 0]
        since = np.where(keys["new_model"] > 0, keys["new_model_since"], keys["last_seen"])
        hours = (keys["last_seen"] - since) / HOUR
        arrivals = keys["new_model_requests"].astype(np.float64)
        evidence = {
            "requests_since": arrivals,
            "hours_since": hours,
            "moved_share": arrivals / np.maximum(arrivals + keys["other_model_requests"], 1.0),
            "an_hour_before": keys["rate_before"].astype(np.float64),
            "an_hour_since": arrivals / np.maximum(hours, 1.0),
            "ordinary_share": share,
        }
        p = np.where(level > 0.0, np.maximum(share, self.floor), 1.0)
        return Finding(p, since.astype(np.float64), evidence)

    def summary(self, evidence: Mapping[str, float]) -> str:
        return (
            f"{evidence['requests_since']:,.0f} requests to a model new to it in "
            f"{max(evidence['hours_since'], 1):.0f} hours, {evidence['moved_share']:.0%} of all, "
            f"{evidence['an_hour_since']:,.0f} an hour after {evidence['an_hour_before']:,.0f}"
        )
