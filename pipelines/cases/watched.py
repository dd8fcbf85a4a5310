"""The open cases of the moment, and which alerts and changes concern them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable

from monitor.alerting.alerts import Alert
from monitor.alerting.changes import Change
from monitor.errors import EvidenceError
from monitor.evidence.chain import read_entry
from monitor.evidence.entries import AlertSeen, Entry, FactsTaken
from monitor.evidence.rows import CaseRow, row_after
from monitor.evidence.store import CaseStore

_SECONDS = 60.0  # after which the index is read again even if the version is the same


class Watched:
    """Follows the index. Each new entry is read once. One thread uses it.

    Attributes:
        rows: of all cases, by id.
    """

    def __init__(self, store: CaseStore) -> None:
        self.rows: dict[str, CaseRow] = {}
        self._store = store
        self._version = -1
        self._due = 0.0  # monotonic time
        self._read: dict[str, int] = {}  # entries, by open case
        self._names: defaultdict[str, set[str]] = defaultdict(set)  # cases by subject or member
        self._alerts: defaultdict[str, set[str]] = defaultdict(set)  # cases by alert id

    def refresh(self) -> None:
        """Read what has changed."""
        version = self._store.version()
        if version == self._version and time.monotonic() < self._due:
            return
        self.rows = {row.id: row for row in self._store.rows()}
        is_open = {row.id for row in self.rows.values() if row.status == "open"}
        for case in self._read.keys() - is_open:
            self._forget(case)
        for case in is_open:
            if self._read.get(case, 0) != self.rows[case].entries:
                self._read_entries(self.rows[case])
        self._version, self._due = version, time.monotonic() + _SECONDS

    def add(self, entry: Entry) -> None:
        """Count an entry that was just written; the next refresh reads its row."""
        row = self.rows[entry.case]
        self.rows[entry.case] = row_after(row, entry, 0, row.head)
        self._follow(row, entry)

    def of_alert(self, alert: Alert) -> list[str]:
        """The open cases that an alert concerns: of its subject, or one of which that is a member.

        The members of an alert on the subject of a case are members of the case from now on.
        """
        cases = sorted(self._names.get(alert.subject.id, ()))
        for case in cases:
            if self.rows[case].subject == alert.subject.id:
                self._add(case, alert.subject.members)
        return cases

    def of_change(self, change: Change) -> list[str]:
        """The open cases that a change concerns: of its subject, a member or one of its alerts."""
        if change.what == "case" or not change.subject:
            return []
        found = self._names.get(change.subject, set()) | self._alerts.get(change.subject, set())
        return sorted(found)

    def has_case(self, subject: str) -> bool:
        """Whether an open case is about this subject."""
        return any(self.rows[case].subject == subject for case in self._names.get(subject, ()))

    def _read_entries(self, row: CaseRow) -> None:
        done = self._read.get(row.id, 0)
        if done > row.entries:  # Redis has lost entries
            self._forget(row.id)
            done = 0
        lines = self._store.lines(row.id, done + 1)
        self._add(row.id, [row.subject])
        for line in lines:
            try:
                self._follow(row, read_entry(line))
            except EvidenceError:  # found and repaired where entries are copied
                continue
        self._read[row.id] = done + len(lines)

    def _follow(self, row: CaseRow, entry: Entry) -> None:
        match entry.body:
            case AlertSeen(alert):
                self._alerts[alert.id].add(row.id)
                if alert.subject.id == row.subject:
                    self._add(row.id, alert.subject.members)
            case FactsTaken(facts):
                self._add(row.id, (each.key for each in facts.members if each.role == "member"))
            case _:
                pass

    def _add(self, case: str, names: Iterable[str]) -> None:
        for name in names:
            self._names[name].add(case)

    def _forget(self, case: str) -> None:
        self._read.pop(case, None)
        for index in (self._names, self._alerts):
            for name in [name for name, cases in index.items() if case in cases]:
                index[name].discard(case)
                if not index[name]:
                    del index[name]
