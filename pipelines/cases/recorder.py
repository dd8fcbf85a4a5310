"""Writes what happens to the subjects of open cases into them, and opens cases by itself.

| what | entry |
|---|---|
| an alert on the subject or a member opens, gets more severe or resolves | `alert` |
| the first such alert; a higher severity; twice the members | `facts` |
| a person, or a cap, changes a decision, an alert or a silence on one of them | `change` |
| an alert of the severity in `XM_CASES__OPEN` on a subject without an open case | `opened` |

An entry is recognised by what it is made from, so what is read twice is written once. A client can
cause alerts, so what the monitor writes is bounded: one entry per state of an alert, one for facts
per doubling of the members, and the limits in `XM_CASES__…`. People can always add.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec

from monitor.alerting.alerts import Alert
from monitor.alerting.changes import Change
from monitor.config import Cases
from monitor.errors import EvidenceError, InputError
from monitor.evidence.entries import AlertSeen, AnyBody, Changed, FactsTaken, Noted
from monitor.evidence.facts import Facts
from monitor.evidence.rows import MONITOR, CaseRow, level
from monitor.evidence.store import CaseStore
from monitor.metrics import Metrics
from monitor.records.profile import DAY
from monitor.store.control import ControlStore
from pipelines.cases.watched import Watched

UNWRITTEN = 1 << 62  # more than any entry
_PAGE = 1000  # changes that are read at once
_BEFORE = 7 * DAY  # before a case opened: changes since then belong to it
_BROKEN_SECONDS = 600.0  # after a change: until then, a case that is broken may be repaired
_FACTS_SECONDS = 60.0, 3600.0  # until facts that failed are tried again, the first and the longest

log = logging.getLogger(__name__)

Collect = Callable[[str], Facts]


class Message(NamedTuple):
    """An alert message. `source` is `<topic>:<partition>:<offset>`."""

    source: str
    alert: Alert


class Recorder:
    """Writes entries. One thread uses it. Its methods raise `StoreError` if Redis fails.

    Args:
        store: of the cases.
        limits: when cases open, and how large they get.
        known: the alerts of the last days; those on members belong to a case that opens later.
        collect: collects the facts about a subject; raises `InputError` if there are none.
        is_withdrawn: whether a person has withdrawn an alert like this one.
    """

    def __init__(
        self,
        store: CaseStore,
        limits: Cases,
        known: Callable[[], Iterable[Alert]],
        collect: Collect,
        is_withdrawn: Callable[[Alert], bool],
        metrics: Metrics,
    ) -> None:
        self.watched = Watched(store)
        self._store, self._limits, self._known, self._collect = store, limits, known, collect
        self._is_withdrawn, self._metrics = is_withdrawn, metrics
        self._reached: set[str] = set()  # limits that are logged
        self._broken: set[str] = set()  # cases that are logged
        self._facts_failed: dict[str, tuple[float, float]] = {}  # next try, and the pause after it

    def record(self, messages: Sequence[Message]) -> dict[str, int]:
        """Write the entries of some alerts, unless they are written.

        Returns:
            the number of the newest of these entries, by case; `UNWRITTEN` if the case is broken.
        """
        written: dict[str, int] = {}
        self.watched.refresh()
        for message in messages:
            if self._opens(message.alert):
                self._open(message)
        for source, alert in messages:
            for case in self.watched.of_alert(alert):
                number = self._write(case, AlertSeen(alert), source)
                written[case] = max(written.get(case, 0), number)
        for case, number in written.items():
            written[case] = max(number, self._take_facts(case))
        return written

    def is_copied(self, case: str, number: int) -> bool:
        """Whether Kafka has an entry. It is known to be in Redis, or was a moment ago."""
        return self._store.copied(case) >= number

    def record_changes(self, control: ControlStore, after: str) -> tuple[str, bool]:
        """Write the changes that follow an entry of the audit.

        Returns:
            the last entry that is done, and whether there may be more.
        """
        self.watched.refresh()
        count = 0
        for id, value in islice(control.audit_entries(f"({after}"), _PAGE):
            change = msgspec.json.decode(value, type=Change)
            numbers = [
                self._write(case, Changed(change), change.id, who=change.who)
                for case in self.watched.of_change(change)
            ]
            if UNWRITTEN in numbers and time.time() - change.at < _BROKEN_SECONDS:
                return after, False
            after, count = id, count + 1
        return after, count == _PAGE

    def record_earlier_changes(self, control: ControlStore, cases: set[str]) -> None:
        """Write the changes that were made in the week before cases opened."""
        self.watched.refresh()
        opened = [row.opened_at for id in cases if (row := self.watched.rows.get(id))]
        if opened:
            for change in control.audit(min(opened) - _BEFORE):
                for case in cases.intersection(self.watched.of_change(change)):
                    self._write(case, Changed(change), change.id, who=change.who)

    def catch_up(self) -> None:
        """Take the facts that could not be taken before."""
        self.watched.refresh()
        for row in list(self.watched.rows.values()):
            if row.status == "open" and row.needs_facts:
                self._take_facts(row.id)

    # Opening

    def _opens(self, alert: Alert) -> bool:
        """Whether an alert opens a case."""
        limits = self._limits
        least = limits.open if alert.subject.type == "campaign" else limits.open_keys
        return (
            least != "never"
            and alert.state != "resolved"
            and level(alert.severity) >= level(least)
            and not self.watched.has_case(alert.subject.id)
            and not self._is_withdrawn(alert)
        )

    def _open(self, message: Message) -> None:
        alert, rows = message.alert, self.watched.rows.values()
        own = sum(row.status == "open" and row.opened_by == MONITOR for row in rows)
        if self._is_reached("most_open", own >= self._limits.most_open) or self._is_full():
            return
        reason = f"{alert.severity} alert of kind {alert.kind}"
        subject = alert.subject
        self._store.open_case(
            subject.id, subject.type, reason, MONITOR, alert=alert.id, source=message.source
        )
        self._metrics.case_entries.labels("opened").inc()
        self.watched.refresh()

    # Writing

    def _write(self, case: str, body: AnyBody, source: str, *, who: str = MONITOR) -> int:
        """Write an entry and return its number; 0 if a limit is reached."""
        row = self.watched.rows[case]
        if who == MONITOR:
            if self._is_full():
                return 0
            if _is_of_member(body, row) and row.written >= self._limits.most_entries // 2:
                self._metrics.case_limits.labels("most_entries").inc()
                return 0
            if row.written >= self._limits.most_entries:
                self._metrics.case_limits.labels("most_entries").inc()
                text = (
                    f"The monitor has written {row.written:,} entries, as many as "
                    "XM_CASES__MOST_ENTRIES allows. Later alerts are on their topic only."
                )
                body, source = Noted(text), "most_entries"
        try:
            entry = self._store.append(case, body, who, source=source)
        except (EvidenceError, InputError) as error:
            if case not in self._broken:
                log.error("case_not_written case=%s reason=%r", case, str(error))
                self._broken.add(case)
                self._store.suspect(row)
            return UNWRITTEN
        self._broken.discard(case)
        if entry.number > row.entries:
            self._metrics.case_entries.labels(entry.body.__struct_config__.tag).inc()
            self.watched.add(entry)
        return entry.number

    def _take_facts(self, case: str) -> int:
        """Take the facts if they are due, and return the number of their entry, 0 without one."""
        row = self.watched.rows[case]
        due, pause = self._facts_failed.get(case, (0.0, _FACTS_SECONDS[0]))
        if not row.needs_facts or time.monotonic() < due or case in self._broken:
            return 0
        if row.written >= self._limits.most_entries or self._is_full():
            return 0
        if row.facts is None:
            for alert in self._known():
                if case in self.watched.of_alert(alert):
                    self._write(case, AlertSeen(alert), "")
            row = self.watched.rows[case]
        try:
            facts = self._collect(row.subject)
        except InputError as error:
            log.warning("case_without_facts case=%s reason=%r", case, str(error))
            later = min(2 * pause, _FACTS_SECONDS[1])
            self._facts_failed[case] = time.monotonic() + pause, later
            return 0
        self._facts_failed.pop(case, None)
        return self._write(case, FactsTaken(facts), _facts_source(row))

    # Limits

    def _is_full(self) -> bool:
        used = sum(row.bytes for row in self.watched.rows.values())
        return self._is_reached("memory_mb", used >= self._limits.memory_mb << 20)

    def _is_reached(self, limit: str, reached: bool) -> bool:
        """Count and log that the monitor does not write because of a limit."""
        if not reached:
            self._reached.discard(limit)
            return False
        self._metrics.case_limits.labels(limit).inc()
        if limit not in self._reached:
            self._reached.add(limit)
            log.error("case_limit setting=XM_CASES__%s", limit.upper())
        return True


def _is_of_member(body: AnyBody, row: CaseRow) -> bool:
    """Whether an entry is an alert on a member: they leave room for the subject's own."""
    return isinstance(body, AlertSeen) and body.alert.subject.id != row.subject


def _facts_source(row: CaseRow) -> str:
    """The same for all who take facts for the same reason."""
    return f"{row.severity or 'opened'}:{row.members.bit_length()}"
