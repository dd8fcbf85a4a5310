"""Takeover: a key that is suddenly used from elsewhere, with another client and for other work.

A stolen or resold key keeps its name, but not its habits. A new network, a new client version or a
new task alone are ordinary. All at once are rare: the share of ordinary keys whose work changes as
much in a day, times the share that begins to use a new network with a new client. That share is
assumed, not learned (NEW_ORIGIN). The owner may go on using the key meanwhile; the evidence has the
number of these requests, too.
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
from monitor.records.profile import HOUR, TAKEOVER, Profile

#: Share of ordinary keys that on a given day begin to use a new network together with a new client.
NEW_ORIGIN = 0.02
MIN_MOVED = 8  # requests from new origins


@dataclass(frozen=True, slots=True)
class Takeover:
    """A change of work from new origins, compared with ordinary keys.

    Attributes:
        floor: smallest probability reported; a change of hands is never certain.
    """

    floor: float = 1e-5
    name: ClassVar[str] = "takeover"
    slot: ClassVar[int] = 7
    levels: ClassVar[Sequence[int]] = (TAKEOVER,)
    evidence: ClassVar[Mapping[str, Evidence]] = {
        "requests_from_new_origins": Evidence("count"),
        "requests_from_usual_origins": Evidence("count", "requests from usual origins since"),
        "hours_since_move": Evidence("hours"),
        "work_change": Evidence("score", "change of work", level=TAKEOVER),
        **ORDINARY_SHARE,
    }

    def __call__(self, keys: Profile, baseline: Baseline) -> Finding:
        """Evaluate n keys."""
        share = ordinary_shares(keys, baseline, self.levels)[:, 0]
        moved = keys["moved_requests"].astype(np.float64)
        since = np.where(moved > 0, keys["moved_since"], keys["last_seen"]).astype(np.float64)

        def evidence() -> Mapping[str, Floats]:
            return {
                "requests_from_new_origins": moved,
                "requests_from_usual_origins": keys["unmoved_requests"].astype(np.float64),
                "hours_since_move": (keys["last_seen"] - since) / HOUR,
                "work_change": keys.level[:, TAKEOVER],
                "ordinary_share": share,
            }

        measured = (moved >= MIN_MOVED) & (keys.level[:, TAKEOVER] > 0.0)
        p = np.where(measured, np.maximum(share * NEW_ORIGIN, self.floor), 1.0)
        return Finding(p, since, evidence)

    def summary(self, evidence: Mapping[str, float]) -> str:
        """The requests from new origins, and how rare such a change of work is."""
        moved = evidence["requests_from_new_origins"]
        if not moved:
            return "used from its usual networks and clients"
        return (
            f"{counted(moved, 'request')} from new networks and clients within "
            f"{counted(max(evidence['hours_since_move'], 1.0), 'hour')}, for other work than before"
        )
