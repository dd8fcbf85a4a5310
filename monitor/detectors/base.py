"""What a detector says: how improbable ordinary traffic makes what the record shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from monitor.records.baseline import Baseline
from monitor.records.profile import Profile

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Finding:
    """A detector's word on n keys.

    Attributes:
        p: `(n,) float64`, probability that an ordinary key ever shows as much on a day.
        since: `(n,) float64`, where the window that it speaks of begins, epoch seconds.
        evidence: numbers by name, each `(n,) float64`.
    """

    p: Floats
    since: Floats
    evidence: Mapping[str, Floats] = field(default_factory=dict)


class Detector(Protocol):
    """Judges profiles. It knows the record and the public, and nothing else."""

    @property
    def name(self) -> str:
        """The kind of its alerts, one of `profile.KINDS`."""

    def __call__(self, keys: Profile, baseline: Baseline) -> Finding:
        """Judge n keys at once."""

    def summary(self, evidence: Mapping[str, float]) -> str:
        """What a pager should show after the key's name, without a full stop."""


class Evaluation(NamedTuple):
    """What detectors were shown of n keys at once, and what each of them said.

    Attributes:
        keys: their pseudonyms; a key may be there several times.
        ts: `(n,) float64`, when, epoch seconds.
        findings: one a detector, and last what all say together.
    """

    keys: list[str]
    ts: Floats
    profile: Profile
    baseline: Baseline
    findings: list[Finding]
