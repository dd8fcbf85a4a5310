"""The life cycle of an alert: open, update, resolve.

An alert opens when a finding is improbable enough. It is updated when the severity rises; the
severity never falls. It resolves after a quiet time without evidence that confirms it. Weaker
evidence confirms an alert than opens it. The state of an alert is in the subject's record, survives
whatever the record survives, and depends on event time only.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args

import msgspec
import numpy as np
import numpy.typing as npt

from monitor import config
from monitor.detectors import ALERT_KINDS
from monitor.detectors.base import Detector, Finding

State = Literal["open", "update", "resolved"]
Severity = Literal["info", "warning", "critical"]
Action = Literal["observe", "mark", "throttle", "challenge", "block"]  # the weakest first
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
ACTIONS: tuple[Action, ...] = get_args(Action)

INFO, WARNING = 1, 2  # severity in records and fingerprints: position in SEVERITIES, from 1
CONFIRM_FACTOR = 10.0  # a probability up to this many times that of `info` confirms an alert
WITHDRAWN_BEFORE = "withdrawn_before"  # evidence of an alert in spite of a withdrawal
OPENING_WINDOW = 300.0  # seconds; alerts that open within one have the same id


class Subject(msgspec.Struct, frozen=True):
    """What an alert is about. Ids are pseudonyms.

    Attributes:
        members: of a campaign, its keys and accounts; of an account, the keys that have been seen
            since the alert opened; of an end user, the key.
    """

    type: Literal["api_key", "account", "end_user", "campaign"]
    id: str
    members: list[str] = []


class Alert(msgspec.Struct, frozen=True):
    """One alert message, as sent on the wire (one JSON object per message).

    `id` identifies the alert through all its states; (id, state, detected_at) identifies the
    message. Times are event time in epoch seconds. `evidence` holds numbers only.
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


class OpenAlert(NamedTuple):
    """An alert that is open, since event time `opened`, epoch seconds."""

    kind: str
    severity: Severity
    id: str
    opened: float


class Lifecycle:
    """Turns findings into alerts.

    Args:
        settings: the thresholds, and the quiet time before an alert resolves.
        action: the decision for a kind and severity.
        detectors: detectors that are not among the registered ones.

    Attributes:
        confirming: probability up to which a finding confirms an open alert.
        quiet: seconds without such a finding after which an alert resolves.
        kinds: of alerts, by their slots in the record.
    """

    def __init__(
        self,
        settings: config.Detection,
        action: Callable[[str, Severity], Action],
        detectors: Sequence[Detector] = (),
    ) -> None:
        self._thresholds = (settings.info, settings.warning, settings.critical)
        self.confirming = settings.info * CONFIRM_FACTOR
        self.quiet = settings.quiet_minutes * 60.0
        self._action = action
        self.kinds = dict(enumerate(ALERT_KINDS)) | {each.slot: each.name for each in detectors}

    def severity(self, p: float) -> int:
        """0 for nothing, 1 for info, 2 for warning, 3 for critical."""
        return sum(p <= threshold for threshold in self._thresholds)

    def severities(self, p: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
        """The severity of each of n probabilities, `(n,) uint8`."""
        found = np.zeros(len(p), np.uint8)
        for threshold in self._thresholds:
            found += p <= threshold
        return found

    def evaluate(
        self,
        record: Any,
        subject: Subject,
        now: float,
        detector: Detector,
        finding: Finding,
        i: int,
        strongest: Action = "block",
    ) -> Alert | None:
        """Open, update or confirm an alert.

        Args:
            record: the subject's RECORD, updated in place.
            now: event time of the evaluation, epoch seconds.
            detector: the detector that made the finding.
            finding: for several subjects.
            i: index of this one in the finding.
            strongest: the strongest decision that the alert may lead to.

        Returns:
            The alert if it opened or became more severe.
        """
        slot = detector.slot
        p = float(finding.p[i])
        found, before = self.severity(p), int(record["severity"][slot])
        if found or (before and p <= self.confirming):
            record["confirmed"][slot] = max(now, record["confirmed"][slot])
        if found <= before:
            return None
        record["severity"][slot] = found
        if not before:
            record["opened"][slot] = now
        severity = SEVERITIES[found - 1]
        evidence = {name: float(values[i]) for name, values in finding.evidence.items()}
        return Alert(
            id=alert_id(subject.id, detector.name, float(record["opened"][slot])),
            kind=detector.name,
            state="update" if before else "open",
            severity=severity,
            score=1.0 - p,
            subject=subject,
            detected_at=now,
            window=(float(finding.since[i]), now),
            evidence={"probability": p, **evidence},
            summary=f"{subject.id}: {detector.summary(evidence)}.",
            decision=weaker(self._action(detector.name, severity), strongest),
        )

    def is_quiet(
        self, severity: npt.NDArray[np.uint8], confirmed: npt.NDArray[np.uint32], now: float
    ) -> npt.NDArray[np.bool_]:
        """Which of n records have an alert to resolve at event time `now`, `(n,) bool`.

        Args:
            severity, confirmed: these fields of the records.
        """
        quiet = now - confirmed.astype(np.float64) >= self.quiet
        return np.asarray(((severity > 0) & quiet).any(axis=1))

    def resolve(self, record: Any, subject: Subject, now: float, epoch: float) -> list[Alert]:
        """Resolve the quiet alerts of a subject; its RECORD is updated in place.

        Args:
            epoch: seconds. An alert is resolved at the end of the epoch in which it became quiet,
                also if the partition has no request for several epochs and this is noticed later.
        """
        resolved = []
        for slot, kind in self.kinds.items():
            confirmed = float(record["confirmed"][slot])
            if record["severity"][slot] and now - confirmed >= self.quiet:
                at = min(now, math.ceil((confirmed + self.quiet) / epoch) * epoch)
                why = f"resolved after {(at - confirmed) / 60:.0f} minutes without new evidence"
                resolved.append(self._resolve(record, slot, kind, subject, at, why))
        return resolved

    def withdraw(
        self, record: Any, subject: Subject, now: float, kinds: Mapping[str, int]
    ) -> list[Alert]:
        """Resolve the alerts of a subject that a person has withdrawn; its RECORD is updated.

        Args:
            kinds: by kind of alert, the highest severity that counts as withdrawn, as in records.
        """
        why = "withdrawn by a person, who found no attack"
        return [
            self._resolve(record, slot, kind, subject, now, why)
            for slot, kind in self.kinds.items()
            if 0 < record["severity"][slot] <= kinds.get(kind, 0)
        ]

    def end(self, record: Any, subject: Subject, now: float, why: str) -> list[Alert]:
        """Resolve all alerts of a subject; its RECORD is updated in place."""
        return [
            self._resolve(record, slot, kind, subject, now, why)
            for slot, kind in self.kinds.items()
            if record["severity"][slot]
        ]

    def _resolve(
        self, record: Any, slot: int, kind: str, subject: Subject, now: float, why: str
    ) -> Alert:
        """Resolve the alert in a slot."""
        severity = SEVERITIES[int(record["severity"][slot]) - 1]
        opened, confirmed = float(record["opened"][slot]), float(record["confirmed"][slot])
        record["severity"][slot] = 0
        return Alert(
            id=alert_id(subject.id, kind, opened),
            kind=kind,
            state="resolved",
            severity=severity,
            score=0.0,
            subject=subject,
            detected_at=now,
            window=(opened, confirmed),
            evidence={"calm_seconds": max(now - confirmed, 0.0)},
            summary=f"{subject.id}: {kind} {why}.",
            decision="observe",
        )

    def open_on(self, record: Any, id: str) -> list[OpenAlert]:
        """The alerts that are open on a subject."""
        severities = record["severity"].tolist()
        if not any(severities):
            return []
        opened = record["opened"].tolist()
        return [
            OpenAlert(
                kind,
                SEVERITIES[severities[slot] - 1],
                alert_id(id, kind, opened[slot]),
                opened[slot],
            )
            for slot, kind in self.kinds.items()
            if severities[slot]
        ]


def despite_withdrawal(alert: Alert) -> Alert:
    """An alert whose subject had one of the same kind that a person withdrew: this one is new."""
    evidence = alert.evidence | {WITHDRAWN_BEFORE: 1.0}
    return msgspec.structs.replace(alert, evidence=evidence)


def weaker(action: Action, limit: Action) -> Action:
    """An action, or `limit` if that is weaker."""
    return min(action, limit, key=ACTIONS.index)


def alert_id(subject: str, kind: str, opened: float) -> str:
    """The alert id: a hash of subject, kind and opening window, the same in every replay."""
    return _alert_id(subject, kind, int(opened // OPENING_WINDOW))


@lru_cache(1 << 14)
def _alert_id(subject: str, kind: str, window: int) -> str:
    text = f"{subject}\n{kind}\n{window}"
    return "a_" + hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=10).hexdigest()
