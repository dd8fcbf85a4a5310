"""Writes alerts: each state that the topic or the alert book has."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from monitor.alerting.alerts import SEVERITIES, WITHDRAWN_BEFORE, Alert
from monitor.alerting.enforcement import Withdrawal
from monitor.store.alert_book import Silence
from pipelines.console.reader.subjects import account_of, ensure, set_severities

_ORDER = "CASE {0}.state WHEN 'open' THEN 0 WHEN 'update' THEN 1 ELSE 2 END"
# Summary and evidence stay when an alert resolves: its last message has no evidence.
_UPSERT = f"""
INSERT INTO alerts (id, kind, severity, state, subject, subject_type, decision, score, summary,
  evidence, opened_at, detected_at, changed_at, again)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
  severity = max(severity, excluded.severity), state = excluded.state,
  decision = excluded.decision,
  score = iif(excluded.state = 'resolved', score, excluded.score),
  summary = iif(excluded.state = 'resolved', summary, excluded.summary),
  evidence = iif(excluded.state = 'resolved', evidence, excluded.evidence),
  opened_at = min(opened_at, excluded.opened_at), detected_at = excluded.detected_at,
  changed_at = excluded.changed_at, again = max(again, excluded.again)
WHERE (excluded.detected_at, {_ORDER.format("excluded")})
    > (alerts.detected_at, {_ORDER.format("alerts")})"""
_MESSAGE = "INSERT OR IGNORE INTO alert_messages VALUES (?, ?, ?, ?, ?, ?, ?)"


class Seen(NamedTuple):
    """A state of an alert, and when it arrived, wall-clock time, epoch seconds."""

    alert: Alert
    at: float


def add_alerts(connection: sqlite3.Connection, seen: Iterable[Seen]) -> int:
    """Write states of alerts; the number of those that were new."""
    found = list(seen)
    before = connection.total_changes
    connection.executemany(_MESSAGE, [_message(each) for each in found])
    new = connection.total_changes - before
    subjects = {each.alert.subject.id: each.alert for each in found}
    keys = {id: alert for id, alert in subjects.items() if alert.subject.type != "campaign"}
    ensure(connection, {id: _account(connection, alert) for id, alert in keys.items()})
    connection.executemany(_UPSERT, [_row(each) for each in found])
    set_severities(connection, keys)
    connection.executemany(
        "UPDATE audit SET about = ? WHERE subject = ? AND about = ''",
        [(each.alert.subject.id, each.alert.id) for each in found],
    )
    return new


def set_withdrawn(connection: sqlite3.Connection, withdrawn: Iterable[Withdrawal]) -> bool:
    """Set who withdrew which alerts; whether anything changed."""
    now = {each.alert: (each.who, each.at) for each in withdrawn if not each.for_one}
    rows = connection.execute(
        "SELECT id, withdrawn, withdrawn_at FROM alerts WHERE withdrawn_at > 0"
    )
    known = {row["id"]: (row["withdrawn"], row["withdrawn_at"]) for row in rows}
    changed = [(*now.get(id, ("", 0.0)), id) for id in now.keys() | known.keys()]
    changed = [each for each in changed if known.get(each[2], ("", 0.0)) != each[:2]]
    before = connection.total_changes
    connection.executemany(
        "UPDATE alerts SET withdrawn = ?, withdrawn_at = ? WHERE id = ?", changed
    )
    set_severities(
        connection,
        {
            row[0]
            for *_, id in changed
            for row in connection.execute("SELECT subject FROM alerts WHERE id = ?", (id,))
        },
    )
    return connection.total_changes > before


def set_silenced(connection: sqlite3.Connection, silences: Iterable[Silence], now: float) -> bool:
    """Set until when open alerts are silenced; whether anything changed."""
    ends: dict[str, float] = {}
    for silence in silences:
        query = (
            "SELECT id FROM alerts WHERE state != 'resolved' AND ?1 IN ('', id, subject) "
            "AND ?2 IN ('', kind)"
        )
        for row in connection.execute(query, (silence.subject, silence.kind)):
            ends[row["id"]] = max(ends.get(row["id"], 0.0), silence.until)
    query = "SELECT id, silenced_until FROM alerts WHERE state != 'resolved' AND silenced_until > ?"
    known = {row["id"]: row["silenced_until"] for row in connection.execute(query, (now,))}
    changed = [
        (ends.get(id, 0.0), id)
        for id in ends.keys() | known.keys()
        if ends.get(id, 0.0) != known.get(id, 0.0)
    ]
    connection.executemany("UPDATE alerts SET silenced_until = ? WHERE id = ?", changed)
    return bool(changed)


def set_wholes(connection: sqlite3.Connection, wholes: Mapping[str, str]) -> bool:
    """Set which open alerts are part of another one; whether anything changed.

    Args:
        wholes: by key or account, the id of the alert that it is part of.
    """
    query = "SELECT id, subject, whole FROM alerts WHERE state != 'resolved'"
    changed = [
        (whole, row["id"])
        for row in connection.execute(query)
        if (whole := wholes.get(row["subject"], "")) not in (row["whole"], row["id"])
    ]
    connection.executemany("UPDATE alerts SET whole = ? WHERE id = ?", changed)
    return bool(changed)


def _account(connection: sqlite3.Connection, alert: Alert) -> str:
    """The account that a subject belongs to; that of an end user is its key's."""
    if alert.subject.type == "end_user" and alert.subject.members:
        return account_of(connection, alert.subject.members[0])
    return ""


def _row(seen: Seen) -> tuple[object, ...]:
    alert = seen.alert
    return (
        alert.id,
        alert.kind,
        SEVERITIES.index(alert.severity) + 1,
        alert.state,
        alert.subject.id,
        alert.subject.type,
        alert.decision,
        alert.score,
        alert.summary,
        msgspec.json.encode(alert.evidence).decode(),
        alert.window[0] if alert.state == "resolved" else alert.detected_at,
        alert.detected_at,
        seen.at,
        WITHDRAWN_BEFORE in alert.evidence,
    )


def _message(seen: Seen) -> tuple[object, ...]:
    alert = seen.alert
    return (
        alert.id,
        alert.detected_at,
        alert.state,
        SEVERITIES.index(alert.severity) + 1,
        alert.decision,
        seen.at,
        alert.summary,
    )
