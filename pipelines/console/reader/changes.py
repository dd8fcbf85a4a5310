"""Writes the audit, what people decided, and erases what they had erased."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

import msgspec

from monitor.alerting.changes import Change
from monitor.identity import is_pseudonym
from pipelines.gateways.applied import Applied

_AUDIT = "INSERT OR IGNORE INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DECISION = "INSERT OR IGNORE INTO decisions VALUES (?, ?, ?, ?, ?, ?)"
_ERASED = (
    "DELETE FROM alert_messages WHERE id IN (SELECT id FROM alerts WHERE subject = ?1)",
    "DELETE FROM alerts WHERE subject = ?1",
    "DELETE FROM keys WHERE key = ?1",
    "UPDATE keys SET account = '', tenant = '' WHERE account = ?1",
    "DELETE FROM tenants WHERE account = ?1",
    "DELETE FROM templates WHERE key = ?1",
    "DELETE FROM members WHERE key = ?1",
    "DELETE FROM in_force WHERE subject = ?1",
    "DELETE FROM decisions WHERE subject = ?1",
)


def add_changes(connection: sqlite3.Connection, changes: Iterable[Change]) -> int:
    """Write changes; the number of those that were new."""
    new = 0
    for change in changes:
        row = (
            change.id,
            change.at,
            change.what,
            change.who,
            change.why,
            change.subject,
            _about(connection, change),
            _json(change.before),
            _json(change.after),
            change.reference,
        )
        if connection.execute(_AUDIT, row).rowcount < 1:
            continue
        new += 1
        if change.what == "decide" and isinstance(change.after, dict):
            _decided(connection, change, change.after)
        elif change.what == "delete":
            ended = (change.subject, change.at, "observe", "observe", change.id, change.at)
            connection.execute(_DECISION, ended)
        elif change.what == "forget":
            forget(connection, change.subject, change.at)
    return new


def add_applied(
    connection: sqlite3.Connection, subject: str, applied: Applied | None, at: float
) -> None:
    """Write what applies to a subject from a time on, unless it is what applied before.

    Args:
        applied: `None` if its decision is gone.
    """
    query = "SELECT * FROM decisions WHERE subject = ? AND at <= ? ORDER BY at DESC LIMIT 1"
    last = connection.execute(query, (subject, at)).fetchone()
    if applied is None or applied.subject is None:
        if last is not None and last["decided"] != "observe" and last["until"] > at:
            end = (subject, at, "observe", "observe", last["reason"], at)
            connection.execute(_DECISION, end)
        return
    decided = applied.shadow or applied.decision
    reason = applied.reason or ""
    now = (applied.decision, decided, reason)
    if last is None or (last["action"], last["decided"], last["reason"]) != now:
        connection.execute(_DECISION, (subject, at, *now, applied.until or at))
    elif applied.until and applied.until > last["until"]:
        query = "UPDATE decisions SET until = ? WHERE subject = ? AND at = ?"
        connection.execute(query, (applied.until, subject, last["at"]))


def forget(connection: sqlite3.Connection, subject: str, at: float) -> None:
    """Delete what is known about a subject, and note to leave out what was before."""
    for statement in _ERASED:
        connection.execute(statement, (subject,))
    connection.execute("INSERT OR REPLACE INTO forgotten VALUES (?, ?)", (subject, at))


def forgotten(connection: sqlite3.Connection) -> dict[str, float]:
    """When each subject was forgotten, wall-clock time, epoch seconds."""
    rows = connection.execute("SELECT subject, at FROM forgotten")
    return {row["subject"]: row["at"] for row in rows}


def _decided(connection: sqlite3.Connection, change: Change, after: dict[str, Any]) -> None:
    action = str(after.get("action", "observe"))
    until = float(after.get("expires_at") or change.at)
    shown = "observe" if after.get("shadow") else action
    connection.execute(_DECISION, (change.subject, change.at, shown, action, change.id, until))


def _about(connection: sqlite3.Connection, change: Change) -> str:
    """The key, account, end user or campaign that a change concerns; empty for none."""
    named, _, key = change.subject.partition("/")  # a withdrawal for one key
    for each in (key, named, _subject_in(change.after), _subject_in(change.before)):
        if is_pseudonym(each) or each.startswith("c_"):
            return each
        query = "SELECT subject FROM alerts WHERE id = ?"
        found = connection.execute(query, (each,)).fetchone() if each else None
        if found is not None:
            return str(found["subject"])
    return ""


def _subject_in(value: Any) -> str:
    found = value.get("subject") if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def _json(value: Any) -> str:
    return "" if value is None else msgspec.json.encode(value).decode()
