"""Pivot: a key that moves to a model it has never used, and sends more requests than before.

Distillers follow model releases: within a day of one, most of a campaign's traffic goes to the new
model. The move starts with the first request to that model (`records/behaviour.py`). The requests
since then are compared with the rate that the key had before: the log-likelihood ratio of two
Poisson rates, times the share of requests that moved. After a day a move no longer counts.

On the day of a release honest keys move too, and nobody knows yet how many. The baseline learns it
when the day is over. Until then a pivot is one sign among others and never more than an info alert.
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
    ordinary_shares,
)
from monitor.records.baseline import Baseline
from monitor.records.profile import HOUR, PIVOT, Profile


@dataclass(frozen=True, slots=True)
class Pivot:
    """A move to a new model with a rise in rate, compared with ordinary keys.

    Attributes:
        floor: smallest probability reported.
    """

    floor: float = 1e-3
    name: ClassVar[str] = "pivot"
    slot: ClassVar[int] = 4
    levels: ClassVar[Sequence[int]] = (PIVOT,)
    evidence: ClassVar[Mapping[str, Evidence]] = {
        "requests_since": Evidence("count"),
        "hours_since": Evidence("hours"),
        "moved_share": Evidence("share", "share moved"),
        "an_hour_before": Evidence("per hour", "an hour before"),
        "an_hour_since": Evidence("per hour", "an hour since"),
        **ORDINARY_SHARE,
    }

    def __call__(self, keys: Profile, baseline: Baseline) -> Finding:
        """Evaluate n keys."""
        share = ordinary_shares(keys, baseline, self.levels)[:, 0]
        since = np.where(keys["new_model"] > 0, keys["new_model_since"], keys["last_seen"])

        def evidence() -> Mapping[str, Floats]:
            hours = (keys["last_seen"] - since) / HOUR
            moved = keys["new_model_requests"].astype(np.float64)
            return {
                "requests_since": moved,
                "hours_since": hours,
                "moved_share": moved / np.maximum(moved + keys["other_model_requests"], 1.0),
                "an_hour_before": keys["rate_before"].astype(np.float64),
                "an_hour_since": moved / np.maximum(hours, 1.0),
                "ordinary_share": share,
            }

        p = np.where(keys.level[:, PIVOT] > 0.0, np.maximum(share, self.floor), 1.0)
        return Finding(p, since.astype(np.float64), evidence)

    def summary(self, evidence: Mapping[str, float]) -> str:
        """The requests to the new model, and the rates before and since."""
        if not evidence["requests_since"]:
            return "no move to a new model"
        return (
            f"{counted(evidence['requests_since'], 'request')} to a newly adopted model within "
            f"{counted(max(evidence['hours_since'], 1.0), 'hour')}, "
            f"{evidence['moved_share']:.0%} of all requests; "
            f"{evidence['an_hour_since']:,.0f} an hour, {evidence['an_hour_before']:,.0f} before"
        )
