"""What a detector is: it reads the records of keys and reports how improbable ordinary use is.

A detector is one file. It declares the kind of its alerts, its slot in the record, the levels that
it reads, and its evidence with labels and units; views and alerts read these declarations. To add a
detector, write the file and add it to the list in `__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from monitor.records.baseline import Baseline
from monitor.records.profile import Profile

Floats = npt.NDArray[np.float64]

Unit = Literal[
    "count",  # whole things: requests, tokens, prompts, signs
    "share",  # 0 to 1, shown in percent
    "nats",  # of a log-likelihood ratio
    "seconds",
    "hours",
    "per hour",
    "deviations",  # standard deviations of ordinary keys
    "score",  # a number without a unit
]


class Evidence(NamedTuple):
    """How to show one evidence value.

    Attributes:
        unit: what the value counts.
        label: its name on screen; the evidence name without underscores if empty.
        level: index of the record's level that the value shows. Its ordinary range is then that of
            the baseline's peaks of a day. Without a level it is that of other keys at present.
        shown: False if the summary already states the value.
    """

    unit: Unit
    label: str = ""
    level: int | None = None
    shown: bool = True


#: The evidence of every detector that compares a level with the baseline.
ORDINARY_SHARE = {"ordinary_share": Evidence("share", shown=False)}


@dataclass(frozen=True)
class Finding:
    """A detector's result for n keys.

    Few findings lead to an alert, so the evidence is computed when it is first read. Read it before
    the records change.

    Attributes:
        p: `(n,) float64`, probability that an ordinary key shows as much at any time in a day.
        since: `(n,) float64`, start of the window that the finding covers, epoch seconds.
        measure: computes the evidence.
    """

    p: Floats
    since: Floats
    measure: Callable[[], Mapping[str, Floats]] = dict

    @cached_property
    def evidence(self) -> Mapping[str, Floats]:
        """Values by name, `(n,) float64` each; the names are those of `Detector.evidence`."""
        return self.measure()


class Detector(Protocol):
    """Evaluates records against the baseline; it knows nothing else and keeps no state."""

    @property
    def name(self) -> str:
        """The kind of its alerts."""

    @property
    def slot(self) -> int:
        """Index of its alert in the record. Stored records depend on it: never change or reuse."""

    @property
    def levels(self) -> Sequence[int]:
        """Indices of the record's levels that it compares with the baseline."""

    @property
    def evidence(self) -> Mapping[str, Evidence]:
        """Its evidence values by name."""

    def __call__(self, keys: Profile, baseline: Baseline) -> Finding:
        """Evaluate n keys at once."""

    def summary(self, evidence: Mapping[str, float]) -> str:
        """One line for a pager, to follow the key's name; without a full stop."""


class Evaluation(NamedTuple):
    """One evaluation of n records by all detectors.

    Attributes:
        keys: pseudonyms, `n` of them, of keys, accounts or end users; each may occur several times.
        ts: `(n,) float64`, event time, epoch seconds.
        profile: the records.
        baseline: what they were compared with.
        findings: one per detector; the last is that of all detectors combined.
        of_keys: `(n,) bool`, whether the records are of keys, not of accounts or end users.
    """

    keys: list[str]
    ts: Floats
    profile: Profile
    baseline: Baseline
    findings: list[Finding]
    of_keys: npt.NDArray[np.bool_]


def ordinary_shares(keys: Profile, baseline: Baseline, levels: Sequence[int]) -> Floats:
    """Share of ordinary keys that reach the levels of n keys in a day.

    Args:
        levels: indices of k levels.

    Returns:
        `(n, k) float64`, in (0, 1].
    """
    return baseline.tails(keys)[:, levels]


def first_seen(keys: Profile) -> Floats:
    """When each key was first seen, `(n,) float64`, epoch seconds."""
    return keys["first_seen"].astype(np.float64)


def counted(number: float, noun: str) -> str:
    """A rounded number and its noun, in the plural unless the number is 1."""
    text = f"{number:,.0f}"
    return f"{text} {noun}" if text == "1" else f"{text} {noun}s"
