"""Sends alerts that a receiver did not accept again, once a person has repaired it.

Dead letters stay in their topic. What a receiver has accepted since is in the alert book, so
sending them again twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from monitor.alerting.alerts import Alert, State
from monitor.store.alert_book import AlertBook, Mark
from pipelines.notify.dead_letters import DeadLetter
from pipelines.notify.incidents.ledger import rank
from pipelines.notify.incidents.notice import Notice
from pipelines.notify.receivers.base import AwayError
from pipelines.notify.route import Route

Outcome = Literal["delivered", "known", "refused", "away", "no_route"]


class Redelivery(msgspec.Struct, frozen=True):
    """What became of a dead letter.

    Attributes:
        outcome: `known`: the receiver has this state or a later one. `no_route`: the settings have
            no receiver of this name.
        reason: of the receiver, if it did not accept.
    """

    receiver: str
    alert: str
    state: State
    outcome: Outcome
    reason: str = ""


async def redeliver(
    letters: Iterable[DeadLetter], routes: Sequence[Route], book: AlertBook, now: float
) -> list[Redelivery]:
    """Send dead letters in order. After a failure, the later states of that alert wait."""
    by_name = {route.receiver.name: route for route in routes}
    away: dict[str, str] = {}
    refused: dict[tuple[str, str], str] = {}
    done: list[Redelivery] = []
    for letter in letters:
        name, alert = letter.receiver, letter.alert
        outcome: Outcome = "no_route"
        reason = ""
        if name in by_name:
            marks = book.marks(alert.id)
            accepted = [mark for mark in marks if mark.receiver == name and mark.accepted]
            active = accepted[-1].severity if accepted else None
            if any(rank(mark) >= rank(alert) for mark in accepted):
                outcome = "known"
            elif name in away:
                outcome, reason = "away", away[name]
            elif (name, alert.id) in refused:
                outcome, reason = "refused", refused[name, alert.id]
            else:
                outcome, reason = await _send(by_name[name], Notice(alert, active), book)
                if outcome == "delivered":
                    mark = Mark(name, alert.state, alert.severity, alert.detected_at)
                    book.mark({alert.id: [mark]}, now)
                elif outcome == "away":
                    away[name] = reason
                else:
                    refused[name, alert.id] = reason
        done.append(Redelivery(name, alert.id, alert.state, outcome, reason))
    return done


async def _send(route: Route, notice: Notice, book: AlertBook) -> tuple[Outcome, str]:
    alert, receiver = notice.alert, route.receiver
    if receiver.groups and alert.state == "resolved" and _goes_on(alert, receiver.name, book):
        return "delivered", ""
    try:
        await route.receiver.send([notice])
    except AwayError as error:
        return "away", str(error)
    except Exception as error:
        return "refused", str(error) or type(error).__name__
    return "delivered", ""


def _goes_on(alert: Alert, receiver: str, book: AlertBook) -> bool:
    """Whether a receiver has another open alert on the subject, so that the incident goes on."""
    for entry in book.entries():
        if entry.alert.subject.id == alert.subject.id and entry.alert.id != alert.id:
            accepted = [mark for mark in entry.of(receiver) if mark.accepted]
            if accepted and max(accepted, key=rank).state != "resolved":
                return True
    return False
