"""What the page of the present shows: totals, what applies, and what waits for a person."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from monitor.alerting.alerts import Action
from pipelines.console.view.database import View
from pipelines.console.view.scope import Condition, Tenants, among, both, of_subject, of_tenants

_DAY = 86_400.0


class Totals(msgspec.Struct, frozen=True):
    """Keys, accounts and end users with an open alert, and what they have used."""

    flagged: int
    critical: int
    requests: int
    tokens: int
    cost: float


class Again(msgspec.Struct, frozen=True):
    """An open alert on a subject that had one of this kind which a person withdrew."""

    id: str
    kind: str
    subject: str
    changed_at: float


def totals(view: View, tenants: Tenants) -> Totals:
    """The totals of all that is flagged. What a key of a flagged account used counts once."""
    where = both(Condition("severity > 0", []), of_tenants("tenant", tenants))
    flagged = "SELECT key FROM keys WHERE severity > 0 AND key < 'b'"  # accounts
    counted = f"iif(key >= 'u_' OR (account != key AND account IN ({flagged})), 0, f.{{}})"
    query = (
        "SELECT count(*) AS flagged, coalesce(sum(severity = 3), 0) AS critical, "
        f"coalesce(sum({counted.format('requests')}), 0) AS requests, "
        f"coalesce(sum({counted.format('tokens')}), 0) AS tokens, "
        f"coalesce(sum({counted.format('cost')}), 0.0) AS cost FROM keys AS f WHERE {where.sql}"
    )
    return view.structs(Totals, query, where.parameters)[0]


def kinds_on(view: View, subjects: Sequence[str]) -> dict[str, list[str]]:
    """The kinds of the open alerts on subjects, the most severe first."""
    if not subjects:
        return {}
    where = among("subject", subjects)
    query = (
        f"SELECT subject, kind FROM alerts WHERE state != 'resolved' AND {where.sql} "
        "ORDER BY severity DESC, kind"
    )
    found: dict[str, list[str]] = {}
    for row in view.rows(query, where.parameters):
        found.setdefault(row["subject"], []).append(row["kind"])
    return found


def applied_to(view: View, subjects: Sequence[str], now: float) -> dict[str, tuple[Action, Action]]:
    """By subject, what gateways enforced when the reader last looked, and what was decided."""
    if not subjects:
        return {}
    where = both(Condition("until > ?", [now]), among("subject", subjects))
    query = f"SELECT subject, action, decided FROM in_force WHERE {where.sql}"
    rows = view.rows(query, where.parameters)
    return {row["subject"]: (row["action"], row["decided"]) for row in rows}


def raised_again(view: View, tenants: Tenants, *, limit: int = 10) -> tuple[list[Again], int]:
    """The open alerts that came in spite of a withdrawal, the newest first, and their number."""
    where = both(Condition("again > 0 AND state != 'resolved'", []), of_subject("subject", tenants))
    query = (
        f"SELECT id, kind, subject, changed_at FROM alerts WHERE {where.sql} "
        "ORDER BY changed_at DESC LIMIT ?"
    )
    total = view.number(f"SELECT count(*) FROM alerts WHERE {where.sql}", where.parameters)
    return view.structs(Again, query, [*where.parameters, limit]), total


def active_keys(view: View) -> int:
    """Keys with a request in the day before the newest one, as far as fingerprints say."""
    query = (
        "SELECT count(*) FROM keys WHERE last_seen > (SELECT max(last_seen) FROM keys) - ? "
        "AND key >= 'k_' AND key < 'l'"
    )
    return view.number(query, (_DAY,))


def warned_lately(view: View, now: float) -> int:
    """Alerts on single subjects that became a warning or critical in the last day."""
    query = (
        "SELECT count(*) FROM (SELECT DISTINCT m.id FROM alert_messages AS m "
        "JOIN alerts AS a USING (id) WHERE m.seen_at > ? AND m.severity >= 2 "
        "AND m.state != 'resolved' AND a.subject_type != 'campaign')"
    )
    return view.number(query, (now - _DAY,))
