"""Alerts as commands show them: each with its deliveries, silence and withdrawal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from monitor.alerting.alerts import (
    ACTIONS,
    SEVERITIES,
    WITHDRAWN_BEFORE,
    Action,
    Alert,
    Severity,
    State,
)
from monitor.alerting.enforcement import Control, Withdrawal
from monitor.errors import InputError
from monitor.store.alert_book import AlertBook, Entry, Silence

#: By alert id, and by subject and kind.
Withdrawn = Mapping[str | tuple[str, str], Withdrawal]


class Delivered(msgspec.Struct, frozen=True):
    """That a receiver accepted a state of an alert, or did not.

    Attributes:
        at: wall-clock time, epoch seconds.
    """

    receiver: str
    state: State
    severity: Severity
    at: float
    accepted: bool


class AlertView(msgspec.Struct, frozen=True):
    """An alert in the book.

    Attributes:
        opened_at, changed_at: wall-clock time, epoch seconds.
    """

    alert: Alert
    opened_at: float
    changed_at: float
    deliveries: list[Delivered]
    silence: Silence | None
    withdrawal: Withdrawal | None


def list_alerts(
    book: AlertBook,
    control: Control,
    now: float,
    *,
    everything: bool = False,
    kind: str = "",
    subject: str = "",
    least_severity: Severity = "info",
) -> list[AlertView]:
    """The alerts in the book, the most severe and latest first.

    Args:
        everything: also those that have resolved.
        kind, subject: that an alert must have; empty: any.
    """
    silences, withdrawn = book.silences(now), most_severe(control)
    severe = SEVERITIES[SEVERITIES.index(least_severity) :]
    found = [
        _view(entry, silences, withdrawn, now)
        for entry in _with_one_decision(book)
        if (everything or entry.is_open)
        and kind in ("", entry.alert.kind)
        and subject in ("", entry.alert.subject.id)
        and entry.alert.severity in severe
    ]

    def order(view: AlertView) -> tuple[bool, int, float]:
        severity = SEVERITIES.index(view.alert.severity)
        return view.alert.state != "resolved", severity, view.changed_at

    return sorted(found, key=order, reverse=True)


def find_alert(book: AlertBook, control: Control, id: str, now: float) -> AlertView:
    """One alert.

    Args:
        id: its id or a unique prefix.

    Raises:
        InputError: if there is none, or several.
    """
    entries = _with_one_decision(book)
    found = [entry for entry in entries if entry.alert.id == id]
    found = found or [entry for entry in entries if entry.alert.id.startswith(id)]
    if len(found) > 1:
        raise InputError(f"{len(found)} alerts have ids that begin with {id}: write more of it.")
    if not found:
        raise InputError(
            f"There is no alert {id} that is open or ended in the last 3 days: list them with "
            "`xm alerts list --all`. The topic of alerts keeps older ones."
        )
    return _view(found[0], book.silences(now), most_severe(control), now)


def read_alert(book: AlertBook, control: Control, id: str, now: float) -> AlertView | None:
    """One alert by its whole id, with its own decision; `None` if the book does not have it."""
    entry = book.read([id]).get(id)
    if entry is None:
        return None
    return _view(entry, book.silences(now), most_severe(control), now)


def _with_one_decision(book: AlertBook) -> list[Entry]:
    """The alerts in the book, each open one with the strongest decision on its subject.

    That is the one of all alerts on it, and of the campaign or account that it is part of.
    """
    entries = list(book.entries())
    running = {entry.alert.id: entry.alert for entry in entries if entry.is_open}
    wholes = book.wholes({alert.subject.id for alert in running.values()})
    strongest: defaultdict[str, Action] = defaultdict(lambda: "observe")
    for alert in running.values():
        subject = alert.subject.id
        strongest[subject] = max(strongest[subject], alert.decision, key=ACTIONS.index)
    for entry in entries:
        subject, whole = entry.alert.subject.id, running.get(wholes.get(entry.alert.subject.id, ""))
        if entry.is_open:
            of_whole = strongest[whole.subject.id] if whole else "observe"
            decision = max(strongest[subject], of_whole, key=ACTIONS.index)
            entry.alert = replace(entry.alert, decision=decision)
    return entries


def _view(entry: Entry, silences: list[Silence], withdrawn: Withdrawn, now: float) -> AlertView:
    return AlertView(
        entry.alert,
        entry.opened_at,
        entry.changed_at,
        [
            Delivered(mark.receiver, mark.state, mark.severity, at, mark.accepted)
            for mark, at in entry.marks.items()
        ],
        next((each for each in silences if each.covers(entry.alert, now)), None),
        withdrawal_of(withdrawn, entry.alert),
    )


def most_severe(control: Control) -> Withdrawn:
    """The withdrawals by alert, and by subject and kind, the most severe of each."""
    found: dict[str | tuple[str, str], Withdrawal] = {}
    for each in sorted(control.withdrawn.values(), key=_severity_of):
        if not each.for_one:
            found[each.alert] = found[each.subject, each.kind] = each
    return found


def withdrawal_of(withdrawn: Withdrawn, alert: Alert) -> Withdrawal | None:
    """The withdrawal that covers an alert: of its subject and kind, up to the same severity.

    An alert that opened in spite of earlier ones is covered only by its own.
    """
    if alert.evidence.get(WITHDRAWN_BEFORE):
        found = withdrawn.get(alert.id)
    else:
        found = withdrawn.get((alert.subject.id, alert.kind))
    return found if found and _severity_of(found) >= _severity_of(alert) else None


def _severity_of(what: Alert | Withdrawal) -> int:
    return SEVERITIES.index(what.severity)
