"""Rows of the index of cases: what a list of cases needs, without reading their entries."""

from __future__ import annotations

from typing import Literal

import msgspec

from monitor.alerting.alerts import SEVERITIES, Alert, Severity
from monitor.errors import EvidenceError
from monitor.evidence.entries import (
    AlertSeen,
    AnyBody,
    Appealed,
    Closed,
    Entry,
    FactsTaken,
    Letter,
    Opened,
    Reopened,
    Ruled,
)
from monitor.evidence.facts import SubjectType

MONITOR = "monitor"  # who writes what no person does
_DAY = 86_400.0


class CaseRow(msgspec.Struct, frozen=True):
    """A case in the index.

    Attributes:
        entries: their number; the newest one has the digest `head`.
        written: entries that the monitor wrote.
        bytes: of all entries as stored.
        severity: the highest of its alerts; `None` without one.
        members: keys, the most that an alert or the facts listed.
        facts: the severity and the members when facts were last taken; `None` before.
        waiting: references of letters whose appeals have no ruling yet, and when each appeal was
            received, epoch seconds.
    """

    id: str
    subject: str
    type: SubjectType
    reason: str
    opened_at: float
    opened_by: str
    changed_at: float
    head: str
    entries: int = 1
    written: int = 0
    bytes: int = 0
    status: Literal["open", "closed"] = "open"
    outcome: str = ""
    severity: Severity | None = None
    members: int = 0
    facts: tuple[Severity | None, int] | None = None
    references: list[str] = []
    waiting: dict[str, float] = {}

    @property
    def needs_facts(self) -> bool:
        """Whether the severity rose, or the members doubled, since facts were taken."""
        if self.facts is None:
            return True
        severity, members = self.facts
        return level(self.severity) > level(severity) or self.members >= 2 * max(members, 1)


def level(severity: Severity | None) -> int:
    """The rank of a severity, from 1; 0 for none."""
    return 0 if severity is None else SEVERITIES.index(severity) + 1


def row_after(row: CaseRow | None, entry: Entry, size: int, head: str) -> CaseRow:
    """The row after one more entry.

    Args:
        row: before it; `None` before the first one.
        size: of the entry as stored, bytes.
        head: its digest.

    Raises:
        EvidenceError: if the first entry does not open a case.
    """
    body = entry.body
    if row is None:
        if not isinstance(body, Opened):
            raise EvidenceError(f"The first entry of case {entry.case} does not open it.")
        row = CaseRow(
            entry.case, body.subject, body.type, body.reason, entry.at, entry.who, entry.at, head, 0
        )
    return msgspec.structs.replace(
        row,
        changed_at=entry.at,
        head=head,
        entries=row.entries + 1,
        written=row.written + (entry.who == MONITOR),
        bytes=row.bytes + size,
        **_changed(row, body),
    )


def _changed(row: CaseRow, body: AnyBody) -> dict[str, object]:
    """The fields that only some kinds of entries change."""
    match body:
        case AlertSeen(alert):
            own = len(alert.subject.members) if alert.subject.id == row.subject else 0
            severity = max(row.severity, alert.severity, key=level)
            return {"severity": severity, "members": max(row.members, own)}
        case FactsTaken(facts):
            members = sum(each.role == "member" for each in facts.members)
            severity, members = (
                max(row.severity, facts.severity, key=level),
                max(row.members, members),
            )
            return {"severity": severity, "members": members, "facts": (severity, members)}
        case Letter(reference):
            return {"references": [*row.references, reference]}
        case Appealed(reference, _, received_at):
            return {"waiting": {reference: received_at} | row.waiting}
        case Ruled(reference=reference):
            return {"waiting": {name: at for name, at in row.waiting.items() if name != reference}}
        case Closed(outcome):
            return {"status": "closed", "outcome": outcome}
        case Reopened():
            return {"status": "open", "outcome": ""}
        case _:
            return {}


def marks_of(entry: Entry) -> list[str]:
    """By what an entry is recognised when it is about to be written again.

    An alert is recognised by its state, too: it may be on its topic twice.
    """
    kind = entry.body.__struct_config__.tag
    marks = [f"{kind} {entry.source}"] if entry.source else []
    if isinstance(entry.body, AlertSeen):
        marks.append(_mark_of(entry.body.alert))
    return marks


def _mark_of(alert: Alert) -> str:
    """The same for updates that add a few members within a day.

    So an attacker who adds keys one by one does not fill the case.
    """
    state = "resolved" if alert.state == "resolved" else alert.severity
    grown, day = len(alert.subject.members).bit_length(), int(alert.detected_at // _DAY)
    return f"alert {alert.id} {state} {grown} {day}"
