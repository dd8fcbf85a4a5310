"""Response: the alerts and decisions that follow from findings, and the end of calm alerts.

A decision on a key, an account or an end user is made when an alert on it opens or gets more
severe, and renewed while evidence confirms the alert. A decision on an account applies to its keys:
each of them gets it with its next request.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from monitor.alerting.alerts import ACTIONS, INFO, Action, Lifecycle, Severity, Subject, weaker
from monitor.alerting.decisions import (
    LIMIT_OF_FEW,
    Decision,
    action_for,
    duration,
    strongest,
)
from monitor.batch import Outcome
from monitor.config import Settings
from monitor.detectors.base import Detector, Finding
from monitor.partition import Partition
from monitor.store.table import Rows, Table
from monitor.subjects import BatchSubjects

Floats = npt.NDArray[np.float64]
OpenAlerts = list[tuple[str, Severity, str]]  # kind, severity and id of each


class Response:
    """Makes alerts and decisions.

    Args:
        settings: thresholds and durations.
        table: has the records of all subjects concerned.
        detectors: that make the findings.
    """

    def __init__(self, settings: Settings, table: Table, detectors: Sequence[Detector]) -> None:
        self._durations = settings.decisions
        self._shortest = min(filter(None, (duration(each, settings.decisions) for each in ACTIONS)))
        self._table = table
        self._detectors = detectors
        self._slots = np.array([each.slot for each in detectors])
        self._lifecycle = Lifecycle(settings.detection, action_for, detectors)

    def confirm(self, rows: Rows, ts: Floats, p: Floats) -> Iterator[tuple[int, int, bool]]:
        """Confirm the open alerts that findings support.

        Args:
            rows: `(n,) int64`, the records of n subjects, in stream order.
            ts: `(n,) float64`, event times of the evaluations, epoch seconds.
            p: `(detectors, n) float64`, probabilities of the findings.

        Yields:
            index of the subject and of the detector of each finding that may open or confirm an
            alert, in stream order, and whether it must be applied: it opens or raises an alert, or
            a decision may have to be renewed. Others only need to be applied to a subject
            whose alerts have changed since the first of them.
        """
        records = self._table.records
        subjects, detectors = np.nonzero(self._lifecycle.confirming >= p.T)
        rows, slots, ts = rows[subjects], self._slots[detectors], ts[subjects]
        found = self._lifecycle.severities(p[detectors, subjects])
        before = records["severity"][rows, slots]
        confirms = (found > 0) | (before > 0)
        whole_seconds = ts[confirms].astype(np.uint32)
        np.maximum.at(records["confirmed"], (rows[confirms], slots[confirms]), whole_seconds)
        worst = records["severity"][rows].max(axis=1)
        renews = (worst > INFO) & (ts - records["decided"][rows] >= self._shortest / 2)
        due = (found > before) | renews
        yield from zip(subjects.tolist(), detectors.tolist(), due.tolist(), strict=True)

    def apply(
        self,
        partition: Partition,
        subject: Subject,
        row: int,
        now: float,
        d: int,
        finding: Finding,
        i: int,
        few: bool,
        out: Outcome,
    ) -> bool:
        """Apply a finding; return whether an alert changed.

        Args:
            subject: of the finding.
            row: of the subject's record.
            now: event time of the evaluation, epoch seconds.
            d: index of the detector.
            finding: for several subjects.
            i: index of this one in the finding.
            few: whether the evidence comes from few end users, see `from_few`.
            out: receives alerts and decisions.
        """
        record = self._table.records[row]
        limit: Action = LIMIT_OF_FEW if few else "block"
        alert = self._lifecycle.evaluate(
            record, subject, now, self._detectors[d], finding, i, limit
        )
        open_alerts = self._lifecycle.open_on(record, subject.id)
        if alert is not None or not open_alerts:
            partition.set_open_alerts(subject.id, open_alerts)
        if alert is not None:
            out.alerts.append(alert)
            if alert.severity != "info":
                partition.baseline.exclude(record)
        if (account := partition.accounts.get(subject.id)) is not None:
            account.limit = account.limit if alert is None else limit
            limit = account.limit
        action, seconds, reason = self._ruling(open_alerts, limit)
        due = alert is not None or now - float(record["decided"]) >= seconds / 2
        if seconds and due:
            record["decided"] = now
            scope = "api_key" if subject.type == "campaign" else subject.type
            out.decisions.append(Decision(subject.id, action, reason, now, seconds, scope=scope))
        return alert is not None

    def decide_on_keys(
        self,
        partition: Partition,
        subjects: BatchSubjects,
        before: int,
        out: Outcome,
    ) -> None:
        """Decide on the keys of flagged accounts that made requests before request `before`."""
        accounts = subjects.accounts
        for i, (id, key, now) in subjects.accounts_before(before):
            flagged = partition.accounts.get(id)
            if flagged is None or now - flagged.decided(key) < self._shortest / 2:
                continue
            record = self._table.records[accounts.rows[i]]
            action, seconds, reason = self._ruling(
                self._lifecycle.open_on(record, id), flagged.limit
            )
            due = seconds > 0 and now - flagged.decided(key) >= seconds / 2
            flagged.add(key, now if due else flagged.decided(key))
            if due:
                event = accounts.events[i]
                partition.baseline.exclude(self._table.records[subjects.entries.keys[event]])
                out.decisions.append(Decision(key, action, reason, now, seconds, origin="account"))

    def resolve_calm(
        self, partition: Partition, ids: list[str], rows: Rows, now: float, out: Outcome
    ) -> None:
        """Resolve the calm alerts of some subjects at the end of an epoch.

        Args:
            ids: all subjects with open alerts.
            rows: `(n,) int64`, of their records.
            now: event time, epoch seconds.
            out: receives the alerts.
        """
        records = self._table.records
        for i in np.flatnonzero(self._lifecycle.is_quiet(records[rows], now)).tolist():
            subject, record = partition.subject(ids[i]), records[rows[i]]
            out.alerts += self._lifecycle.resolve(record, subject, now)
            partition.set_open_alerts(subject.id, self._lifecycle.open_on(record, subject.id))
        records["flagged"][rows] = (records["severity"][rows] > INFO).any(axis=1)

    def _ruling(self, open_alerts: OpenAlerts, limit: Action) -> tuple[Action, float, str]:
        """What the open alerts on a subject lead to: action, duration, id of the decisive alert."""
        actions = [action_for(kind, severity) for kind, severity, _ in open_alerts]
        action = strongest(actions)
        reason = open_alerts[actions.index(action)][2] if actions else ""
        action = weaker(action, limit)
        return action, duration(action, self._durations), reason
