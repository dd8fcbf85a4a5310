"""The ledger: a worker's view of the alert book, and what must not be delivered.

It keeps the alerts of the worker's partitions in memory and writes every change to Redis at once. A
delivery is written after the receiver has accepted the alert. So a worker that dies in between lets
its successor deliver that alert again, once. While Redis is away, alerts are delivered from memory
and the changes are written later.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, get_args

from monitor.alerting.alerts import SEVERITIES, Alert, Severity, State
from monitor.alerting.enforcement import Withdrawal
from monitor.errors import StoreError
from monitor.records.profile import DAY
from monitor.store.alert_book import AlertBook, Entry, Mark, Silence
from monitor.store.control import ControlStore
from pipelines.notify.incidents.membership import WHOLES, Membership
from pipelines.notify.listing import Withdrawn, most_severe, withdrawal_of

KEPT = 3 * DAY  # seconds after an alert's end; longer than it may wait for a receiver
ABANDONED = 30 * DAY  # seconds without a change: of an open alert, or one that is a dead letter
_STATES: tuple[State, ...] = get_args(State)

_AWAY = object()

log = logging.getLogger(__name__)


def rank(alert: Alert | Mark) -> tuple[float, int, int]:
    """The order of the states of one alert."""
    return (
        alert.detected_at,
        _STATES.index(alert.state),
        SEVERITIES.index(alert.severity),
    )


def _kept(entry: Entry) -> float:
    """Seconds without a change after which an alert is forgotten."""
    buried = any(not mark.accepted for mark in entry.marks)
    return ABANDONED if entry.is_open or buried else KEPT


class Ledger:
    """Alerts by id.

    Args:
        book: in Redis; `None` keeps everything in memory.
        control: what people have set; `None`: nothing.
    """

    def __init__(
        self,
        book: AlertBook | None = None,
        control: ControlStore | None = None,
    ) -> None:
        self._book = book
        self._control = control
        self._withdrawn: Withdrawn = {}
        self._silences: list[Silence] = []
        self._entries: dict[str, Entry] = {}
        self._subjects: defaultdict[str, set[str]] = defaultdict(set)  # ids of their alerts
        self._membership = Membership(self._entries)
        self._partitions: frozenset[int] = frozenset()
        self._unwritten: set[str] = set()  # ids of alerts
        self._unmarked: defaultdict[str, list[Mark]] = defaultdict(list)
        self._ends: set[str] = set()  # ids of alerts of which only the end was seen
        self._writing, self._joining = asyncio.Lock(), asyncio.Lock()
        self._trouble = False

    def __contains__(self, id: str) -> bool:
        """Whether this worker delivers an alert: its partition has not moved to another."""
        return id in self._entries

    def __getitem__(self, id: str) -> Entry:
        return self._entries[id]

    @property
    def open_entries(self) -> list[Entry]:
        """The alerts that have not resolved."""
        return [entry for entry in self._entries.values() if entry.is_open]

    def of_subject(self, subject: str) -> list[Entry]:
        """The alerts on a subject, open or not."""
        return [self._entries[id] for id in sorted(self._subjects.get(subject, ()))]

    def wholes_of(self, alert: Alert) -> list[Entry]:
        """The alerts that an alert is part of, the largest first."""
        return self._membership.wholes_of(alert.subject.id)

    def severity(self, alert: Alert) -> Severity:
        """The severity of an alert and of what is part of it."""
        return self._membership.severity(alert)

    def is_written(self, id: str) -> bool:
        """Whether a successor of this worker would know an alert."""
        return id not in self._unwritten

    def has_only_end(self, id: str) -> bool:
        """Whether an alert opened before the book began: who has it is unknown."""
        return id in self._ends

    def is_suppressed(self, alert: Alert, now: float) -> bool:
        """Whether an alert that goes on is withdrawn or silenced. Its end never is."""
        if alert.state == "resolved":
            return False
        concerned = [alert, *(each.alert for each in self.wholes_of(alert))]
        silenced = any(each.covers(one, now) for each in self._silences for one in concerned)
        return silenced or self.withdrawal(alert) is not None

    def withdrawal(self, alert: Alert) -> Withdrawal | None:
        """The withdrawal of an alert, or of an earlier one like it."""
        return withdrawal_of(self._withdrawn, alert)

    async def observe(self, alerts: Sequence[Alert], partition: int, now: float) -> None:
        """Enter alerts as they come from their topic."""
        known = await self._try(lambda book: book.read(alert.id for alert in alerts), {}) or {}
        await self._read_rules(now)
        async with self._joining:
            await self._join([alert for alert in alerts if alert.subject.type in WHOLES])
            await self._read({alert.subject.id for alert in alerts})
            # Only now, and all at once: a tick in between would deliver members as incidents.
            for alert in alerts:
                self._enter(self._merge(known.get(alert.id), alert, partition, now))
                self._unwritten.add(alert.id)
            await self._raise(now, [self._entries[alert.id] for alert in alerts])
        await self._write()

    async def mark(
        self, alerts: Iterable[Alert], receiver: str, now: float, *, accepted: bool
    ) -> None:
        """Enter that a receiver accepted alerts, or finally did not."""
        for alert in alerts:
            mark = Mark(receiver, alert.state, alert.severity, alert.detected_at, accepted)
            if alert.id in self._entries:
                self._entries[alert.id].marks[mark] = now
            self._unmarked[alert.id].append(mark)
        await self._write_marks(now)

    async def tick(self, partitions: frozenset[int] | None, now: float) -> None:
        """Follow the worker's partitions, silences and withdrawals; write and forget.

        Args:
            partitions: of the alerts topic; `None`: it has no owners.
        """
        await self._read_rules(now)
        if partitions is not None and partitions != self._partitions:
            await self._follow(partitions)
        async with self._joining:
            await self._read({entry.alert.subject.id for entry in self.open_entries})
            await self._raise(now, self.open_entries)
        await self._write()
        await self._write_marks(now)
        ended = [id for id, entry in self._entries.items() if now - entry.changed_at > _kept(entry)]
        if ended:
            await self._try(lambda book: book.forget(ended))
        for id in ended:
            alert = self._entries[id].alert
            if alert.subject.type in WHOLES:
                members = alert.subject.members
                await self._try(partial(_leave, members, id))
                self._membership.forget(alert)
            self._forget(id)

    async def _follow(self, partitions: frozenset[int]) -> None:
        fresh = partitions - self._partitions
        loaded = await self._try(lambda book: list(book.entries(fresh)), _AWAY)
        if loaded is _AWAY:
            return
        for entry in loaded or ():
            if entry.alert.id not in self._entries:
                self._enter(entry)
        for id in [id for id, each in self._entries.items() if each.partition not in partitions]:
            self._forget(id)
        self._partitions = partitions

    def _enter(self, entry: Entry) -> None:
        self._entries[entry.alert.id] = entry
        self._subjects[entry.alert.subject.id].add(entry.alert.id)

    def _forget(self, id: str) -> None:
        entry = self._entries.pop(id, None)
        self._ends.discard(id)
        if entry is not None:
            subject = entry.alert.subject.id
            self._subjects[subject].discard(id)
            if not self._subjects[subject]:
                del self._subjects[subject]

    async def _join(self, alerts: Sequence[Alert]) -> None:
        """Enter the members of alerts on campaigns and accounts, which need not be entered yet."""
        coming = {alert.id: Entry(alert, 0, 0.0, 0.0) for alert in alerts}
        for alert in alerts:
            if alert.state == "resolved" or not alert.subject.members:
                continue
            members = alert.subject.members
            await self._read(members)
            before = {
                whole.alert.id: whole
                for member in members
                for whole in self._membership.wholes_of(member)
            }
            fresh = self._membership.add(alert, before | coming)
            if fresh:
                await self._try(partial(_join, fresh, alert.id))

    async def _raise(self, now: float, entries: Sequence[Entry]) -> None:
        """Raise what alerts are part of to their severity."""
        for alert in (entry.alert for entry in entries if entry.is_open):
            if not self.is_suppressed(alert, now):
                for raised in self._membership.raise_wholes(alert):
                    await self._try(partial(_raise_severity, *raised))

    async def _read(self, subjects: Iterable[str]) -> None:
        names = list(subjects)
        found = await self._try(lambda book: self._membership.read(book, names), _AWAY)
        if found is not None and found is not _AWAY:
            self._membership.apply(found)

    def _merge(self, stored: Entry | None, alert: Alert, partition: int, now: float) -> Entry:
        entry = self._entries.get(alert.id) or stored
        if entry is None:
            if alert.state == "resolved":
                self._ends.add(alert.id)
            return Entry(alert, partition, now, now)
        if stored is not None and stored is not entry:
            entry.marks = {**stored.marks, **entry.marks}
        entry.partition = partition
        if rank(alert) > rank(entry.alert):
            entry.alert, entry.changed_at = alert, now
        return entry

    async def _write(self) -> None:
        async with self._writing:
            ids, self._unwritten = list(self._unwritten), set()
            entries = [self._entries[id] for id in ids if id in self._entries]
            if entries and await self._try(lambda book: book.write(entries), _AWAY) is _AWAY:
                self._unwritten.update(ids)

    async def _write_marks(self, now: float) -> None:
        async with self._writing:
            marks, self._unmarked = self._unmarked, defaultdict(list)
            if marks and await self._try(lambda book: book.mark(marks, now), _AWAY) is _AWAY:
                for id, unwritten in marks.items():
                    self._unmarked[id] += unwritten

    async def _read_rules(self, now: float) -> None:
        self._silences = await self._try(lambda book: book.silences(now), self._silences) or []
        if self._control is not None:
            read, before = self._control.read, self._withdrawn
            self._withdrawn = await self._try(lambda _: most_severe(read()), before) or {}

    async def _try(self, call: Callable[[AlertBook], Any], otherwise: Any = None) -> Any:
        """The result of a call of the book, or `otherwise` while it cannot be reached."""
        if self._book is None:
            return None
        try:
            found = await asyncio.to_thread(call, self._book)
        except StoreError as error:
            if not self._trouble:
                log.error("alert_book_failed reason=%r", str(error))
            self._trouble = True
            return otherwise
        if self._trouble:
            log.warning("alert_book_back")
        self._trouble = False
        return found


def _join(members: Sequence[str], id: str, book: AlertBook) -> None:
    book.join(members, id)


def _leave(members: Sequence[str], id: str, book: AlertBook) -> None:
    book.leave(members, id)


def _raise_severity(id: str, severity: Severity, book: AlertBook) -> None:
    book.raise_severity(id, severity)
