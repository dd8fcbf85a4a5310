"""Response: the alerts and decisions that follow from findings, and the end of calm alerts.

A decision on a key, an account or an end user is made when an alert on it opens or gets more
severe, and renewed while evidence confirms the alert. A decision on an account applies to its keys:
each of them gets it with its next request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.alerting.alerts import INFO, Action, Lifecycle
from monitor.alerting.policy import (
    LIMIT_OF_FEW,
    Policy,
    action_for,
    usual_rate,
)
from monitor.batch import Outcome
from monitor.config import Settings
from monitor.detectors.base import Detector, Finding
from monitor.partition import Partition
from monitor.store.table import Rows, Table
from monitor.subjects import BatchSubjects

Floats = npt.NDArray[np.float64]


class Response:
    """Makes alerts and decisions.

    Args:
        settings: thresholds and durations.
        table: has the records of all subjects concerned.
        detectors: that make the findings.

    Attributes:
        withdrawn: see `StreamOperator.withdraw`.
    """

    def __init__(self, settings: Settings, table: Table, detectors: Sequence[Detector]) -> None:
        self._policy = Policy(settings.decisions)
        self._shortest_wait = min(self._policy.shortest / 2, self._policy.step)
        self.withdrawn: Mapping[str, Mapping[str, int]] = {}
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
        due = (found > before) | self._may_be_due(rows, ts)
        yield from zip(subjects.tolist(), detectors.tolist(), due.tolist(), strict=True)

    def apply(
        self,
        partition: Partition,
        subjects: BatchSubjects,
        entry: int,
        d: int,
        finding: Finding,
        i: int,
        evaluated: Any,
        few: bool,
        out: Outcome,
    ) -> bool:
        """Apply a finding; return whether an alert changed.

        Args:
            subjects: of the batch.
            entry: index of the entry that was evaluated.
            evaluated: the record right after it.
            d: index of the detector.
            finding: for several subjects.
            i: index of this one in the finding.
            few: whether the evidence comes from few end users, see `from_few`.
            out: receives alerts and decisions.
        """
        subject = subjects.subject(partition, entry)
        event, row = int(subjects.entries.events[entry]), int(subjects.entries.rows[entry])
        now, record = float(subjects.times[event]), self._table.records[row]
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
        decided, changed = float(record["decided"]), alert is not None
        ruling = self._policy.due(open_alerts, decided, now, limit, changed=changed)
        if ruling is not None:
            record["decided"] = now
            ties = (*subjects.ties(event), subjects.usual_network(event, evaluated))
            decision = self._policy.decision(
                subject.id,
                ruling,
                now,
                origin="detector",
                scope="api_key" if subject.type == "campaign" else subject.type,
                rate=(rate := usual_rate(evaluated)),
                ties=partition.lasting_ties(subject.id, ties),
                requests=60.0 * (rate or 0.0),
            )
            out.decisions.append(decision)
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
            if flagged is None or now - flagged.decided(key) < self._shortest_wait:
                continue
            account = self._table.records[accounts.rows[i]]
            ruling = self._policy.due(
                self._lifecycle.open_on(account, id), flagged.decided(key), now, flagged.limit
            )
            flagged.add(key, flagged.decided(key) if ruling is None else now)
            if ruling is not None:
                event = int(accounts.events[i])
                partition.baseline.exclude(self._table.records[subjects.entries.keys[event]])
                # Nothing from the key's record: output depends on no batch, and that may be ahead.
                ties = (id, *subjects.ties(event))
                decision = self._policy.decision(
                    key, ruling, now, origin="account", scope="api_key", ties=ties
                )
                out.decisions.append(decision)

    def set_withdrawn_aside(self, ids: Sequence[str], p: Floats) -> None:
        """Make withdrawn findings ordinary, unless they are more severe than what was withdrawn.

        Args:
            ids: n subjects.
            p: `(detectors, n) float64`, probabilities of the findings, updated in place.
        """
        if not self.withdrawn:
            return
        for i in (i for i, id in enumerate(ids) if id in self.withdrawn):
            kinds = self.withdrawn[ids[i]]
            for d, detector in enumerate(self._detectors):
                if self._lifecycle.severity(float(p[d, i])) <= kinds.get(detector.name, -1):
                    p[d, i] = 1.0

    def withdraw(
        self, partition: Partition, ids: list[str], rows: Rows, now: float, out: Outcome
    ) -> None:
        """Resolve the withdrawn alerts of some subjects, and count them as ordinary again.

        Args:
            ids: subjects with open alerts.
            rows: `(n,) int64`, of their records.
            now: event time, epoch seconds.
            out: receives the alerts.
        """
        records = self._table.records
        for id, row in zip(ids, rows.tolist(), strict=True):
            subject, record = partition.subject(id), records[row]
            out.alerts += self._lifecycle.withdraw(record, subject, now, self.withdrawn[id])
            partition.set_open_alerts(id, self._lifecycle.open_on(record, id))
        records["flagged"][rows] = (records["severity"][rows] > INFO).any(axis=1)

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

    def _may_be_due(self, rows: Rows, ts: Floats) -> npt.NDArray[np.bool_]:
        """Whether a decision on the subject in each of n rows may be due at `ts`, `(n,) bool`."""
        records, step = self._table.records, self._policy.step
        severity, opened = records["severity"][rows], records["opened"][rows]
        worst, decided = severity.max(axis=1), records["decided"][rows]
        renews = (worst > INFO) | ((worst == INFO) & (decided > 0))
        renews &= ts - decided >= self._policy.shortest / 2
        climbed = (decided[:, None] - opened) // step
        climbs = (ts[:, None] - opened) // step > np.maximum(climbed, 0)
        return np.asarray(renews | ((severity > 0) & climbs).any(axis=1))
