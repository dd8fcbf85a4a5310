"""Membership: which subjects are part of the alert on a campaign or an account.

The alerts of a campaign and of its members are in different partitions of the alerts topic, so
different workers may deliver them. The worker that has the campaign's alert enters its members in
Redis, and the workers that have the members' alerts look there. These in turn enter the severity of
the members' alerts, and the campaign's alert gets at least that one. While Redis is away, a worker
knows the members of the alerts that it has itself.

A subject stays part of an alert until another one takes it over: a campaign from an account, and
any alert from one that has ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from monitor.alerting.alerts import SEVERITIES, Alert, Severity
from monitor.store.alert_book import AlertBook, Entry

WHOLES = frozenset({"campaign", "account"})  # types of subjects that others are part of


class Found(NamedTuple):
    """What the book has about some subjects.

    Attributes:
        wholes: by subject, the id of the alert that it is part of.
        others: alerts of other workers, by id.
        severities: see `AlertBook.severities`.
    """

    subjects: set[str]
    wholes: dict[str, str]
    others: dict[str, Entry]
    severities: dict[str, Severity]


class Membership:
    """The alerts that subjects are part of.

    Args:
        entries: the alerts of this worker by id, kept up to date by their owner.
    """

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._own = entries
        self._others: dict[str, Entry] = {}  # alerts of other workers
        self._wholes: dict[str, str] = {}  # subject → id of an alert
        self._severities: dict[str, Severity] = {}

    def wholes_of(self, subject: str) -> list[Entry]:
        """The alerts that a subject is part of, the largest first: a campaign, then an account."""
        found: list[Entry] = []
        while (whole := self._entry(self._wholes.get(subject, ""))) and whole not in found:
            found.insert(0, whole)
            subject = whole.alert.subject.id
        return found

    def severity(self, alert: Alert) -> Severity:
        """The severity of an alert and of what is part of it."""
        return max(alert.severity, self._severities.get(alert.id, "info"), key=SEVERITIES.index)

    def add(self, alert: Alert, before: Mapping[str, Entry]) -> list[str]:
        """Enter the members of an alert on a campaign or account that goes on.

        Args:
            before: the alerts by id that its members are part of, as far as they are known.

        Returns:
            The members that are part of it from now on.
        """
        fresh = []
        for member in alert.subject.members:
            present = before.get(self._wholes.get(member, ""))
            if present is None or _gives_way(present.alert, alert):
                self._wholes[member] = alert.id
                fresh.append(member)
        return fresh

    def read(self, book: AlertBook, subjects: Iterable[str]) -> Found:
        """What the book has about subjects. Changes nothing, so a thread may call it."""
        names = set(subjects)
        wholes = book.wholes(names)
        others = self._read_alerts(book, wholes.values())
        accounts = {each.alert.subject.id for each in others.values()} - names
        outer = book.wholes(accounts)
        others |= self._read_alerts(book, outer.values())
        return Found(names | accounts, wholes | outer, others, book.severities())

    def _read_alerts(self, book: AlertBook, ids: Iterable[str]) -> dict[str, Entry]:
        return book.read(id for id in ids if id not in self._own)

    def apply(self, found: Found) -> None:
        """Take over what was read."""
        for subject in found.subjects:
            self._wholes.pop(subject, None)
        self._wholes |= found.wholes
        known = set(self._wholes.values())
        self._others = {id: e for id, e in (self._others | found.others).items() if id in known}
        self._severities = found.severities

    def raise_wholes(self, alert: Alert) -> list[tuple[str, Severity]]:
        """Raise what an open alert is part of to its severity; returns what has changed."""
        raised = []
        for whole in self.wholes_of(alert.subject.id):
            id, severity = whole.alert.id, self.severity(whole.alert)
            if whole.is_open and SEVERITIES.index(severity) < SEVERITIES.index(alert.severity):
                self._severities[id] = alert.severity
                raised.append((id, alert.severity))
        return raised

    def forget(self, alert: Alert) -> None:
        """Forget an alert and its members."""
        for member in alert.subject.members:
            if self._wholes.get(member) == alert.id:
                del self._wholes[member]
        self._others.pop(alert.id, None)
        self._severities.pop(alert.id, None)

    def _entry(self, id: str) -> Entry | None:
        return self._own.get(id) or self._others.get(id)


def _gives_way(present: Alert, alert: Alert) -> bool:
    """Whether the members of an alert become those of another."""
    if present.id == alert.id:
        return False
    if present.state == "resolved":
        return True
    return alert.subject.type == "campaign" != present.subject.type
