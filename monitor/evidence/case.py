"""A case: what its entries add up to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

import msgspec

from monitor.alerting.alerts import Alert
from monitor.errors import InputError
from monitor.evidence.entries import (
    AlertSeen,
    Appealed,
    Changed,
    Closed,
    Entry,
    FactsTaken,
    Letter,
    Opened,
    Reopened,
    Ruled,
    Traced,
)
from monitor.evidence.facts import Facts, SubjectType


def case_id(subject: str, alert: str) -> str:
    """The id of a case, from its subject and the alert it begins with: the same in a replay."""
    text = f"case\n{subject}\n{alert}".encode("utf-8", "replace")
    return "case_" + hashlib.blake2b(text, digest_size=8).hexdigest()


class Case(msgspec.Struct):
    """A case as of its last entry.

    Attributes:
        entries: all of them, in order.
        facts: as last collected; `None` before.
        alerts: the latest state of each, by id.
    """

    id: str
    subject: str
    type: SubjectType
    reason: str
    opened_at: float
    opened_by: str
    changed_at: float
    status: Literal["open", "closed"] = "open"
    entries: list[Entry] = []
    facts: Facts | None = None
    alerts: dict[str, Alert] = {}
    letters: list[Letter] = []
    appeals: list[Appealed] = []
    rulings: list[Ruled] = []
    changes: list[Changed] = []
    traces: list[Traced] = []
    outcome: str = ""

    @property
    def members(self) -> list[str]:
        """Keys that the case is about: the subject itself, or the members of the campaign."""
        if self.type != "campaign":
            return [self.subject]
        found = dict.fromkeys(
            each.key for each in (self.facts.members if self.facts else []) if each.role == "member"
        )
        for alert in self.alerts.values():
            found |= dict.fromkeys(
                alert.subject.members if alert.subject.id == self.subject else []
            )
        return list(found)

    @property
    def is_overturned(self) -> bool:
        """Whether the last ruling on the case's own subject overturned it."""
        own = [each for each in self.rulings if each.subject in ("", self.subject)]
        return bool(own) and own[-1].result == "overturned"


def case_of(entries: Iterable[Entry]) -> Case:
    """Add up entries, the first of which opens the case.

    Raises:
        InputError: if the first entry does not open a case.
    """
    entries = iter(entries)
    first = next(entries, None)
    if first is None or not isinstance(first.body, Opened):
        raise InputError("The case has no opening entry: run `xm case verify` on it.")
    opened = first.body
    case = Case(
        first.case, opened.subject, opened.type, opened.reason, first.at, first.who, first.at
    )
    case.entries.append(first)
    for entry in entries:
        case.entries.append(entry)
        case.changed_at = entry.at
        match entry.body:
            case FactsTaken(facts):
                case.facts = facts
            case AlertSeen(alert):
                case.alerts[alert.id] = alert
            case Letter():
                case.letters.append(entry.body)
            case Appealed():
                case.appeals.append(entry.body)
            case Ruled():
                case.rulings.append(entry.body)
            case Changed():
                case.changes.append(entry.body)
            case Traced():
                case.traces.append(entry.body)
            case Closed(outcome):
                case.status, case.outcome = "closed", outcome
            case Reopened():
                case.status, case.outcome = "open", ""
            case _:
                pass
    return case
