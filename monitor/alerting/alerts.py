"""The life of an alert: open, update, resolve.

An alert opens when a finding is improbable enough, is updated when it becomes more severe, never
less (hysteresis), and resolves after a calm in which nothing upheld it. What upholds it is weaker
than what opens it. Its state is kept in the key's record, so that it survives whatever the record
survives, and moves with event time only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Literal, get_args

import msgspec
import numpy as np
import numpy.typing as npt

from monitor import config
from monitor.detectors.base import Detector, Finding
from monitor.records.profile import KINDS, Records

State = Literal["open", "update", "resolved"]
Severity = Literal["info", "warning", "critical"]
Action = Literal["observe", "throttle", "challenge", "block"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
ACTIONS: tuple[Action, ...] = get_args(Action)

INFO = 1  # as records hold it: the place in SEVERITIES, from 1 on
UPHOLDS = 10.0  # an alert is upheld up to this many times the probability that opens one
OPENING_WINDOW = 300.0  # seconds


class Subject(msgspec.Struct, frozen=True):
    """Whom an alert is about: a key, or a campaign with its members. Ids are pseudonyms."""

    type: Literal["api_key", "campaign"]
    id: str
    members: list[str] = []


class Alert(msgspec.Struct, frozen=True):
    """One statement about a subject, as it goes on the wire (one JSON object a message).

    `id` names the alert through all its states; (id, state, detected_at) names this statement.
    Times are event time, in seconds since the epoch. `evidence` holds numbers only.
    """

    id: str
    kind: str
    state: State
    severity: Severity
    score: float
    subject: Subject
    detected_at: float
    window: tuple[float, float]
    evidence: dict[str, float]
    summary: str
    decision: Action
    version: int = 1


class Lifecycle:
    """Carries findings into alerts.

    Args:
        settings: the probabilities, and the calm before an alert resolves.
        action: what a kind and severity call for.
    """

    def __init__(
        self, settings: config.Detection, action: Callable[[str, Severity], Action]
    ) -> None:
        self._thresholds = (settings.info, settings.warning, settings.critical)
        self.upholding = settings.info * UPHOLDS
        self.quiet = settings.quiet_minutes * 60.0
        self._action = action

    def severity(self, p: float) -> int:
        """0 for nothing, 1 for info, 2 for warning, 3 for critical."""
        return sum(p <= threshold for threshold in self._thresholds)

    def judge(
        self, record: Any, key: str, now: float, detector: Detector, finding: Finding, i: int
    ) -> Alert | None:
        """Let the i-th word of a finding move the key's alert; what is to be said, if anything."""
        slot = KINDS.index(detector.name)
        p = float(finding.p[i])
        found, then = self.severity(p), int(record["severity"][slot])
        if found or (then and p <= self.upholding):
            record["confirmed"][slot] = max(now, record["confirmed"][slot])
        if found <= then:
            return None
        record["severity"][slot] = found
        if not then:
            record["opened"][slot] = now
        severity = SEVERITIES[found - 1]
        evidence = {name: float(values[i]) for name, values in finding.evidence.items()}
        return Alert(
            id=alert_id(key, detector.name, float(record["opened"][slot])),
            kind=detector.name,
            state="update" if then else "open",
            severity=severity,
            score=1.0 - p,
            subject=Subject("api_key", key),
            detected_at=now,
            window=(float(finding.since[i]), now),
            evidence={"probability": p, **evidence},
            summary=f"{key}: {detector.summary(evidence)}.",
            decision=self._action(detector.name, severity),
        )

    def calm(self, records: Records, now: float) -> npt.NDArray[np.bool_]:
        """Which of n records have an alert that nothing has upheld for long enough, `(n,)`."""
        quiet = now - records["confirmed"].astype(np.float64) >= self.quiet
        return np.asarray(((records["severity"] > 0) & quiet).any(axis=1))

    def resolve(self, record: Any, key: str, now: float) -> list[Alert]:
        """Resolve the alerts of a key that nothing has upheld for long enough."""
        resolved = []
        for slot, kind in enumerate(KINDS):
            then = int(record["severity"][slot])
            upheld = float(record["confirmed"][slot])
            if not then or now - upheld < self.quiet:
                continue
            opened = float(record["opened"][slot])
            record["severity"][slot] = 0
            resolved.append(
                Alert(
                    id=alert_id(key, kind, opened),
                    kind=kind,
                    state="resolved",
                    severity=SEVERITIES[then - 1],
                    score=0.0,
                    subject=Subject("api_key", key),
                    detected_at=now,
                    window=(opened, upheld),
                    evidence={"calm_seconds": now - upheld},
                    summary=f"{key}: {kind} over, calm for {(now - upheld) / 60:.0f} minutes.",
                    decision="observe",
                )
            )
        return resolved

    def open_on(self, record: Any, key: str) -> list[tuple[str, Severity, str]]:
        """Kind, severity and id of the alerts that are open on a record."""
        return [
            (
                kind,
                SEVERITIES[record["severity"][slot] - 1],
                alert_id(key, kind, float(record["opened"][slot])),
            )
            for slot, kind in enumerate(KINDS)
            if record["severity"][slot]
        ]


def alert_id(subject: str, kind: str, opened: float) -> str:
    """The same for the same subject, kind and opening window, in every replay."""
    text = f"{subject}\n{kind}\n{int(opened // OPENING_WINDOW)}"
    return "a_" + hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=10).hexdigest()
