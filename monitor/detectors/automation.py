"""Automation: requests that come as no person sends them, nor what serves persons.

No turn follows another, each asks for as much output as it can get, a timer sends them, and every
hour is as busy as the next (`records/behaviour.py`). Much that is honest does all of that: batches,
pipelines, probes. So the public says how common it is, and however rare, it is a sign among others
and no case of its own.

Source: the cumulative sums are Page's (Biometrika 41, 1954); evenness is the index of dispersion,
which is 1 for a Poisson process (D. R. Cox and P. A. W. Lewis, 1966).

>>> from monitor.sketches.profile import RECORD
>>> from monitor.sketches.public import Public, shipped_reference
>>> nobody = Profile(np.zeros(1, RECORD))
>>> float(Automation()(nobody, Public(shipped_reference())).p[0])
1.0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from monitor.detectors.base import Finding
from monitor.records.baseline import Baseline
from monitor.records.profile import AUTOMATION, Profile


@dataclass(frozen=True, slots=True)
class Automation:
    """How unattended the requests come, against the public.

    Attributes:
        least: requests below which nothing is said.
        floor: no probability is smaller: honest automation may be of a kind not seen before.
    """

    least: int = 16
    floor: float = 1e-3
    name = "automation"

    def __call__(self, keys: Profile, baseline: Baseline) -> Finding:
        level = keys.level[:, AUTOMATION]
        share = baseline.tail(slice(AUTOMATION, AUTOMATION + 1), level[:, None])[:, 0]
        nats = [keys[name].astype(np.float64) for name in ("unattended", "regular")]
        evidence = {
            "requests": keys["requests"].astype(np.float64),
            "follow_ups": keys["follow_ups"].astype(np.float64),
            "unattended_nats": nats[0],
            "regular_nats": nats[1],
            "gap_seconds": np.exp(keys["gap"].astype(np.float64)),
            "even_hours": 4.0 * np.maximum(level - (nats[0] + nats[1]) / 2.0, 0.0),
            "ordinary_share": share,
        }
        p = np.where(keys["requests"] >= self.least, np.maximum(share, self.floor), 1.0)
        return Finding(p, keys["first_seen"].astype(np.float64), evidence)

    def summary(self, evidence: Mapping[str, float]) -> str:
        if evidence["regular_nats"] > max(evidence["unattended_nats"], evidence["even_hours"] / 2):
            how = f"come every {evidence['gap_seconds']:.1f} seconds, as a timer sends them"
        elif evidence["even_hours"] > evidence["unattended_nats"] * 2:
            how = f"come at one rate for {evidence['even_hours']:.0f} hours"
        else:
            how = f"hardly ever follow one another up ({evidence['follow_ups']:.0%})"
        return f"{evidence['requests']:,.0f} requests {how}"
