"""Alerts in the view, also after they resolve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from monitor.alerting.alerts import SEVERITIES, Action, Severity, State
from pipelines.console.view.database import View
from pipelines.console.view.keys import severity_of
from pipelines.console.view.scope import Condition, Tenants, among, both, of_subject

AlertOrder = Literal["severity", "newest"]
AlertState = Literal["open", "resolved", "withdrawn", "any"]
_ORDERS: dict[AlertOrder, str] = {
    "severity": "a.severity DESC, a.changed_at DESC, a.id",
    "newest": "a.changed_at DESC, a.id",
}
_STATES: dict[AlertState, str] = {
    "open": "a.state != 'resolved'",
    "resolved": "a.state = 'resolved'",
    "withdrawn": "a.withdrawn_at > 0",
    "any": "1",
}
_COLUMNS = (
    "a.id, a.kind, a.severity AS level, a.state, a.subject, a.subject_type, a.whole, a.decision, "
    "a.score, a.summary, a.evidence, a.opened_at, a.detected_at, a.changed_at, a.withdrawn, "
    "a.withdrawn_at, a.silenced_until, coalesce(k.requests, c.requests, 0) AS requests, "
    "coalesce(k.tokens, c.tokens, 0) AS tokens, coalesce(k.cost, c.cost, 0.0) AS cost, "
    "coalesce(k.account, '') AS account"
)
_JOINED = "LEFT JOIN keys AS k ON k.key = a.subject LEFT JOIN campaigns AS c ON c.id = a.subject"
_FROM = f"alerts AS a {_JOINED}"
_WITHHELD = "campaign"  # what its alerts say counts the members of other tenants


class AlertRow(msgspec.Struct, frozen=True):
    """An alert in its latest state.

    Attributes:
        level: its severity, 1 to 3.
        whole: id of the alert that it is part of; empty if of none.
        evidence: JSON. Evidence and summary of a campaign are empty for viewers with tenants.
        opened_at, detected_at: event time of its opening and its latest state, epoch seconds.
        changed_at: wall-clock time of its latest state.
        withdrawn: who found it to be no attack; empty if nobody.
        silenced_until: wall-clock time; 0 if it is not silenced.
        requests, tokens, cost: of its subject; 0 if unknown.
        account: of its subject; empty if unknown.
    """

    id: str
    kind: str
    level: int
    state: State
    subject: str
    subject_type: str
    whole: str
    decision: Action
    score: float
    summary: str
    evidence: str
    opened_at: float
    detected_at: float
    changed_at: float
    withdrawn: str
    withdrawn_at: float
    silenced_until: float
    requests: int
    tokens: int
    cost: float
    account: str

    @property
    def severity(self) -> Severity:
        """Its severity."""
        return severity_of(self.level) or "info"

    @property
    def is_open(self) -> bool:
        """Whether it has not resolved."""
        return self.state != "resolved"


class AlertMessage(msgspec.Struct, frozen=True):
    """A state that an alert has had. `seen_at` is wall-clock time."""

    id: str
    state: State
    level: int
    decision: Action
    detected_at: float
    seen_at: float
    summary: str

    @property
    def severity(self) -> Severity:
        """Its severity in this state."""
        return severity_of(self.level) or "info"


class AlertPage(msgspec.Struct, frozen=True):
    """Some alerts of a list, and how long the list is."""

    rows: list[AlertRow]
    total: int


def find_alert(view: View, id: str, tenants: Tenants) -> AlertRow | None:
    """An alert; `None` if it is unknown or about another tenant's subject."""
    where = both(Condition("a.id = ?", [id]), of_subject("a.subject", tenants))
    query = f"SELECT {_COLUMNS} FROM {_FROM} WHERE {where.sql}"
    return next(iter(_shown(view.structs(AlertRow, query, where.parameters), tenants)), None)


def list_alerts(
    view: View,
    tenants: Tenants,
    *,
    state: AlertState = "open",
    least: Severity = "info",
    kinds: Sequence[str] = (),
    subjects: Sequence[str] = (),
    order: AlertOrder = "severity",
    limit: int = 50,
    offset: int = 0,
) -> AlertPage:
    """A list of alerts.

    Args:
        kinds, subjects: empty for all.
    """
    where = both(
        Condition(f"{_STATES[state]} AND a.severity >= ?", [SEVERITIES.index(least) + 1]),
        among("a.kind", kinds),
        among("a.subject", subjects),
        of_subject("a.subject", tenants),
    )
    part = (
        f"SELECT a.* FROM alerts AS a WHERE {where.sql} ORDER BY {_ORDERS[order]} LIMIT ? OFFSET ?"
    )
    query = f"SELECT {_COLUMNS} FROM ({part}) AS a {_JOINED} ORDER BY {_ORDERS[order]}"
    rows = view.structs(AlertRow, query, [*where.parameters, limit, offset])
    total = view.number(f"SELECT count(*) FROM alerts AS a WHERE {where.sql}", where.parameters)
    return AlertPage(_shown(rows, tenants), total)


def alert_messages(view: View, ids: Sequence[str], tenants: Tenants) -> list[AlertMessage]:
    """The states that some alerts have had, the oldest first."""
    if not ids:
        return []
    where = both(among("m.id", ids), of_subject("a.subject", tenants))
    query = (
        "SELECT m.id, m.state, m.severity AS level, m.decision, m.detected_at, m.seen_at, "
        f"{_withheld('m.summary', tenants)} AS summary "
        f"FROM alert_messages AS m JOIN alerts AS a USING (id) WHERE {where.sql} "
        "ORDER BY m.detected_at, m.seen_at"
    )
    return view.structs(AlertMessage, query, where.parameters)


def parts_of(view: View, id: str, tenants: Tenants, *, limit: int = 200) -> list[AlertRow]:
    """The alerts that are part of an alert, the most severe first."""
    where = both(Condition("a.whole != '' AND a.whole = ?", [id]), of_subject("a.subject", tenants))
    query = (
        f"SELECT {_COLUMNS} FROM {_FROM} WHERE {where.sql} ORDER BY {_ORDERS['severity']} LIMIT ?"
    )
    return _shown(view.structs(AlertRow, query, [*where.parameters, limit]), tenants)


def _shown(rows: list[AlertRow], tenants: Tenants) -> list[AlertRow]:
    """Rows without what a viewer of some tenants may not see of a campaign."""
    if not tenants:
        return rows
    withheld = {"summary": "", "evidence": "{}", "requests": 0, "tokens": 0, "cost": 0.0}
    return [
        msgspec.structs.replace(row, **withheld) if row.subject_type == _WITHHELD else row
        for row in rows
    ]


def _withheld(column: str, tenants: Tenants) -> str:
    return f"iif(a.subject_type = '{_WITHHELD}', '', {column})" if tenants else column
