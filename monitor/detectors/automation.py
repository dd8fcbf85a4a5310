"""Automation: requests that arrive as from a program, not from a person or an application.

No request follows up on another, each asks for as much output as it can get, a timer sends them,
and every hour is as busy as the next (`records/behaviour.py`). Honest batch jobs, pipelines and
probes do the same. So the baseline decides how common it is, and automation alone never opens more
than an info alert: it is one sign among others.

Source: the cumulative sums are Page's (Biometrika 41, 1954). Evenness is the index of dispersion,
which is 1 for a Poisson process (D. R. Cox and P. A. W. Lewis, 1966).
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
    first_seen,
    ordinary_shares,
)
from monitor.records.baseline import Baseline
from monitor.records.profile import AUTOMATION, Profile


@dataclass(frozen=True, slots=True)
class Automation:
    """How unattended the requests are, compared with ordinary keys.

    Attributes:
        min_requests: requests below which nothing is reported.
        floor: smallest probability reported. Honest automation may be of a kind not seen before.
    """

    min_requests: int = 16
    floor: float = 1e-3
    name: ClassVar[str] = "automation"
    slot: ClassVar[int] = 3
    levels: ClassVar[Sequence[int]] = (AUTOMATION,)
    evidence: ClassVar[Mapping[str, Evidence]] = {
        "requests": Evidence("count"),
        "follow_ups": Evidence("share"),
        "tiny_turns": Evidence("share", "tiny last turns"),
        "unexplained": Evidence("share", "unexplained input"),
        "unattended_nats": Evidence("nats", "few follow-ups"),
        "regular_nats": Evidence("nats", "regularity"),
        "gap_seconds": Evidence("seconds"),
        "even_hours": Evidence("hours", "steady hours"),
        **ORDINARY_SHARE,
    }

    def __call__(self, keys: Profile, baseline: Baseline) -> Finding:
        """Evaluate n keys."""
        share = ordinary_shares(keys, baseline, self.levels)[:, 0]

        def evidence() -> Mapping[str, Floats]:
            level = keys.level[:, AUTOMATION]
            unattended, regular = (
                keys[name].astype(np.float64) for name in ("unattended", "regular")
            )
            return {
                "requests": keys["requests"].astype(np.float64),
                "follow_ups": keys["follow_ups"].astype(np.float64),
                "tiny_turns": keys["tiny_turns"].astype(np.float64),
                "unexplained": keys["unexplained"].astype(np.float64),
                "unattended_nats": unattended,
                "regular_nats": regular,
                "gap_seconds": np.exp(keys["gap"].astype(np.float64)),
                "even_hours": 4.0 * np.maximum(level - (unattended + regular) / 2.0, 0.0),
                "ordinary_share": share,
            }

        p = np.where(keys["requests"] >= self.min_requests, np.maximum(share, self.floor), 1.0)
        return Finding(p, first_seen(keys), evidence)

    def summary(self, evidence: Mapping[str, float]) -> str:
        """The strongest of the three signs."""
        requests = counted(evidence["requests"], "request")
        if evidence["regular_nats"] > max(evidence["unattended_nats"], evidence["even_hours"] / 2):
            return f"{requests}, one every {evidence['gap_seconds']:.1f} seconds as from a timer"
        if evidence["even_hours"] > evidence["unattended_nats"] * 2:
            return f"{requests} at a constant rate for {counted(evidence['even_hours'], 'hour')}"
        share = f"{evidence['follow_ups']:.0%}"
        if share == "0%":
            return f"{requests} without follow-up turns"
        return f"{requests}, of which {share} are follow-up turns"
