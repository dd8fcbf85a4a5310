"""Response: the alerts and decisions that follow from findings, and the end of calm alerts.

A decision on a key, an account or an end user is made when an alert on it opens or gets more
severe, and renewed while evidence confirms the alert. A decision on an account applies to its keys:
each of them gets it with its next request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.alerting.alerts import ACTIONS, INFO, Action, Lifecycle, despite_withdrawal
from monitor.alerting.enforcement import Cleared
from monitor.alerting.policy import (
    LIMIT_OF_FEW,
    Policy,
    action_for,
    requests_a_day,
    usual_rate,
)
from monitor.batch import Outcome
from monitor.config import Settings
from monitor.detectors.base import Detector, Finding
from monitor.kernels.due import next_due
from monitor.partition import EPOCH, Partition
from monitor.records.end_users import from_few
from monitor.records.inputs import ACCOUNT
from monitor.store.table import Rows, Table
from monitor.subjects import BatchSubjects, Evaluated, Subjects

Floats = npt.NDArray[np.float64]

_LIMITS = ACTIONS.index(LIMIT_OF_FEW), ACTIONS.index("block")


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
        self.withdrawn: Mapping[str, Mapping[str, Cleared]] = {}
        self._table = table
        self._detectors = detectors
        self._slots = np.array([each.slot for each in detectors])
        self._lifecycle = Lifecycle(settings.detection, action_for, detectors)
        self._ladders = self._policy.ladders(list(self._lifecycle.kinds.values()))

    def confirm(self, evaluated: Evaluated, p: Floats) -> Iterator[tuple[int, int]]:
        """Confirm the open alerts that findings support.

        Args:
            evaluated: n records.
            p: `(detectors, n) float64`, probabilities of the findings.

        Yields:
            index of the record and of the detector of each finding that must be applied, in stream
            order: it opens or raises an alert, or may lead to a decision. Apply each before the
            next.
        """
        which, detectors = np.nonzero(self._lifecycle.confirming >= p.T)
        few = from_few(evaluated.records, evaluated.roles)
        limits = np.stack([np.where(few, *_LIMITS)] * 2, axis=1)
        limits[evaluated.roles == ACCOUNT] = _LIMITS  # that of the alert that opened last
        findings = (
            *(evaluated.rows[which], self._slots[detectors]),
            self._lifecycle.severities(p[detectors, which]),
            *(evaluated.ts[which], limits[which], self._ladders),
        )
        i = next_due(self._table.records, *findings, 0)
        while i < len(which):
            yield int(which[i]), int(detectors[i])
            i = next_due(self._table.records, *findings, i + 1)

    def apply(
        self,
        partition: Partition,
        subjects: BatchSubjects,
        evaluated: Evaluated,
        i: int,
        d: int,
        finding: Finding,
        out: Outcome,
    ) -> bool:
        """Apply a finding; return whether an alert changed.

        Args:
            subjects: of the batch.
            evaluated: several records.
            i: index of this one among them.
            d: index of the detector.
            finding: of this detector.
            out: receives alerts and decisions.
        """
        subject = subjects.subject(partition, int(evaluated.entries[i]))
        event, now = int(evaluated.events[i]), float(evaluated.ts[i])
        record, before = self._table.records[evaluated.rows[i]], evaluated.records[i : i + 1]
        (few,) = from_few(before, evaluated.roles[i : i + 1])
        limit: Action = LIMIT_OF_FEW if few else "block"
        alert = self._lifecycle.evaluate(
            record, subject, now, self._detectors[d], finding, i, limit
        )
        open_alerts = self._lifecycle.open_on(record, subject.id)
        if alert is not None or not open_alerts:
            partition.set_open_alerts(subject.id, open_alerts)
        if (account := partition.accounts.get(subject.id)) is not None:
            account.limit = account.limit if alert is None else limit
            limit = account.limit
        if alert is not None:
            if alert.kind in self.withdrawn.get(subject.id, {}):
                alert = despite_withdrawal(alert)
            action = self._policy.strongest(open_alerts, now, limit)
            out.alerts.append(msgspec.structs.replace(alert, decision=action))
            if alert.severity != "info":
                partition.baseline.exclude(self._table.records, evaluated.rows[i])
        decided, changed = float(record["decided"]), alert is not None
        ruling = self._policy.due(open_alerts, decided, now, limit, changed=changed)
        if ruling is not None:
            record["decided"] = now
            ties = (*subjects.ties(event), subjects.usual_network(event, before))
            decision = self._policy.decision(
                subject.id,
                ruling,
                now,
                origin="detector",
                scope="api_key" if subject.type == "campaign" else subject.type,
                rate=(rate := usual_rate(before[0])),
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
        for i, id, key, now in subjects.flagged_before(before, partition.accounts):
            flagged = partition.accounts[id]
            if now - flagged.decided(key) < self._shortest_wait:
                continue
            account = self._table.records[accounts.rows[i]]
            ruling = self._policy.due(
                self._lifecycle.open_on(account, id), flagged.decided(key), now, flagged.limit
            )
            flagged.add(key, flagged.decided(key) if ruling is None else now)
            if ruling is not None:
                event = int(accounts.events[i])
                partition.baseline.exclude(self._table.records, subjects.entries.keys[event])
                # Nothing from the key's record: output depends on no batch, and that may be ahead.
                ties = (id, *subjects.ties(event))
                decision = self._policy.decision(
                    key, ruling, now, origin="account", scope="api_key", ties=ties
                )
                out.decisions.append(decision)

    def set_withdrawn_aside(self, evaluated: Evaluated, p: Floats) -> None:
        """Make withdrawn findings ordinary, unless they are something new, see `Cleared`.

        Args:
            evaluated: n records.
            p: `(detectors, n) float64`, probabilities of the findings, updated in place.
        """
        if not self.withdrawn:
            return
        for i in (i for i, id in enumerate(evaluated.ids) if id in self.withdrawn):
            kinds, requests = self.withdrawn[evaluated.ids[i]], requests_a_day(evaluated.records[i])
            for d, detector in enumerate(self._detectors):
                cleared = kinds.get(detector.name)
                severity = self._lifecycle.severity(float(p[d, i]))
                if cleared is not None and cleared.covers(severity, requests):
                    p[d, i] = 1.0

    def withdraw(self, partition: Partition, subjects: Subjects) -> Outcome:
        """Resolve the withdrawn alerts, and count their subjects as ordinary again.

        Args:
            subjects: finds the records.
        """
        ids, out = [id for id in self.withdrawn if id in partition.alerted], Outcome()
        rows = subjects.rows(partition, ids)
        records = self._table.records
        for id, row in zip(ids, rows.tolist(), strict=True):
            subject, record = partition.subject(id), records[row]
            requests = requests_a_day(record)
            kinds = {
                kind: each.severity
                for kind, each in self.withdrawn[id].items()
                if each.covers(each.severity, requests, is_open=True)
            }
            out.alerts += self._lifecycle.withdraw(record, subject, partition.watermark, kinds)
            partition.set_open_alerts(id, self._lifecycle.open_on(record, id))
        records["flagged"][rows] = (records["severity"][rows] > INFO).any(axis=1)
        self._table.mark_changed(rows)
        return out

    def forget(self, partition: Partition, subjects: Subjects, forgotten: Sequence[str]) -> Outcome:
        """Resolve all alerts of some subjects, and make their records like those of new ones.

        Args:
            subjects: finds the records.
            forgotten: pseudonyms of the subjects to forget.
        """
        ids, out = [id for id in forgotten if id in partition.alerted], Outcome()
        for id, row in zip(ids, subjects.rows(partition, ids).tolist(), strict=True):
            about, record = partition.subject(id), self._table.records[row]
            out.alerts += self._lifecycle.end(record, about, partition.watermark, "data erased")
            partition.set_open_alerts(id, [])
        partition.forget(forgotten)
        rows = subjects.in_memory(partition, forgotten)
        self._table.blank(rows[rows >= 0])
        partition.dirty = True
        return out

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
        severity, confirmed = records["severity"][rows], records["confirmed"][rows]
        for i in np.flatnonzero(self._lifecycle.is_quiet(severity, confirmed, now)).tolist():
            subject, record = partition.subject(ids[i]), records[rows[i]]
            out.alerts += self._lifecycle.resolve(record, subject, now, EPOCH)
            partition.set_open_alerts(subject.id, self._lifecycle.open_on(record, subject.id))
        records["flagged"][rows] = (records["severity"][rows] > INFO).any(axis=1)
