"""Decisions in force, decisions over time, and the audit, in the view."""

from __future__ import annotations

import msgspec

from monitor.alerting.alerts import ACTIONS, Action
from pipelines.console.view.database import View
from pipelines.console.view.scope import Condition, Tenants, both, of_subject

_STRENGTH = " ".join(f"WHEN '{action}' THEN {i}" for i, action in enumerate(ACTIONS))
_IN_FORCE = "subject, action, decided, why, origin, kind, reason, until, rate, made_at"
_AUDIT = "id, at, what, who, why, subject, about, before, after, reference"


class InForce(msgspec.Struct, frozen=True):
    """What applied to a subject when the reader last looked. Times are wall-clock time.

    Attributes:
        action: that gateways enforce.
        decided: the same without what holds it back.
        why: what holds it back; `operator` if a person made it.
        reason: id of the alert, or of a person's change.
        made_at: event time of a detector's decision.
    """

    subject: str
    action: Action
    decided: Action
    why: str
    origin: str
    kind: str
    reason: str
    until: float
    rate: float | None
    made_at: float


class DecisionRow(msgspec.Struct, frozen=True):
    """What applied to a subject from a time on. Times are wall-clock time, epoch seconds.

    Attributes:
        decided: without what held it back; `observe` when the decision had ended.
        reason: id of the alert, or of a person's change (`o_…`).
        kind: of the alert; empty if it is unknown.
        who: of the person; empty for the monitor's own.
    """

    subject: str
    at: float
    action: Action
    decided: Action
    reason: str
    until: float
    kind: str
    who: str


class AuditRow(msgspec.Struct, frozen=True):
    """A change that a person made. `at` is wall-clock time, epoch seconds.

    Attributes:
        about: the key, account, end user or campaign that it concerns; empty for none.
        before, after: JSON, empty where there was or is nothing.
        reference: the same for all changes of one action; empty for others.
    """

    id: str
    at: float
    what: str
    who: str
    why: str
    subject: str
    about: str
    before: str
    after: str
    reference: str


def decisions_in_force(
    view: View,
    tenants: Tenants,
    now: float,
    *,
    action: str = "",
    limit: int = 50,
    offset: int = 0,
) -> tuple[list[InForce], int]:
    """What applies to subjects, the strongest first, and how many there are.

    Args:
        now: wall-clock time, epoch seconds.
        action: decided; empty for all.
    """
    where = both(
        Condition("until > ?", [now]),
        Condition("decided = ?" if action else "1", [action] if action else []),
        of_subject("in_force.subject", tenants),
    )
    query = (
        f"SELECT {_IN_FORCE} FROM in_force WHERE {where.sql} ORDER BY CASE action {_STRENGTH} END "
        f"DESC, CASE decided {_STRENGTH} END DESC, until, subject LIMIT ? OFFSET ?"
    )
    rows = view.structs(InForce, query, [*where.parameters, limit, offset])
    total = view.number(f"SELECT count(*) FROM in_force WHERE {where.sql}", where.parameters)
    return rows, total


def count_in_force(view: View, tenants: Tenants, now: float) -> dict[Action, int]:
    """The number of subjects by the action that gateways enforce, the strongest first."""
    where = both(Condition("until > ?", [now]), of_subject("in_force.subject", tenants))
    query = f"SELECT action, count(*) AS n FROM in_force WHERE {where.sql} GROUP BY action"
    found = {row["action"]: row["n"] for row in view.rows(query, where.parameters)}
    return {action: found[action] for action in reversed(ACTIONS) if action in found}


def decisions(
    view: View,
    tenants: Tenants,
    *,
    subject: str = "",
    limit: int = 100,
) -> list[DecisionRow]:
    """What applied over time, the newest first.

    Args:
        subject: empty for all.
    """
    where = both(
        Condition("d.subject = ?" if subject else "1", [subject] if subject else []),
        of_subject("d.subject", tenants),
    )
    query = (
        "SELECT d.subject, d.at, d.action, d.decided, d.reason, d.until, "
        "coalesce(a.kind, '') AS kind, coalesce(u.who, '') AS who FROM decisions AS d "
        "LEFT JOIN alerts AS a ON a.id = d.reason LEFT JOIN audit AS u ON u.id = d.reason "
        f"WHERE {where.sql} ORDER BY d.at DESC, d.subject LIMIT ?"
    )
    return view.structs(DecisionRow, query, [*where.parameters, limit])


def audit(
    view: View,
    tenants: Tenants,
    *,
    who: str = "",
    what: str = "",
    subject: str = "",
    reference: str = "",
    since: float = 0.0,
    until: float = 0.0,
    before: tuple[float, str] | None = None,
    limit: int = 100,
) -> list[AuditRow]:
    """Changes that people made, the newest first.

    A viewer with tenants sees those about subjects of theirs, and no switch.

    Args:
        who, what, subject, reference: empty for all.
        subject: as the audit has it, or the one that the change concerns.
        until: wall-clock time, epoch seconds; 0 for no end.
        before: time and id of the last one of the page before.
    """
    where = _changes(tenants, who, what, subject, reference, since, until)
    if before is not None:
        where = both(where, Condition("(at, id) < (?, ?)", [*before]))
    query = f"SELECT {_AUDIT} FROM audit WHERE {where.sql} ORDER BY at DESC, id DESC LIMIT ?"
    rows = view.structs(AuditRow, query, [*where.parameters, limit])
    if not tenants:
        return rows
    return [
        # the states of a campaign and of the caps count the keys of other tenants
        msgspec.structs.replace(row, before="", after="")
        if row.about.startswith("c_") or row.what == "cap"
        else row
        for row in rows
    ]


def audited_names(view: View) -> tuple[list[str], list[str]]:
    """Who made changes, and what they changed: for the choices of a filter."""
    who, what = (
        [row[0] for row in view.rows(f"SELECT DISTINCT {column} FROM audit ORDER BY 1 LIMIT 200")]
        for column in ("who", "what")
    )
    return who, what


def _changes(
    tenants: Tenants,
    who: str,
    what: str,
    subject: str,
    reference: str,
    since: float,
    until: float,
) -> Condition:
    conditions = [
        Condition(f"{column} = ?", [value])
        for column, value in (("who", who), ("what", what), ("reference", reference))
        if value
    ]
    if subject:
        conditions.append(Condition("(about = ? OR subject = ?)", [subject, subject]))
    if since:
        conditions.append(Condition("at >= ?", [since]))
    if until:
        conditions.append(Condition("at < ?", [until]))
    return both(*conditions, of_subject("audit.about", tenants))
