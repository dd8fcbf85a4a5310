"""What applies to a subject, as sent by the change feed, the batch look-up and the topic."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from monitor.alerting.alerts import Action
from monitor.alerting.decisions import Scope
from monitor.alerting.enforcement import Effective

_MOST_STEPS = 16


class Applied(msgspec.Struct, frozen=True):
    """What applies to a subject, or to a request that names several.

    Attributes:
        subject: pseudonym that the decision is on.
        decision: the action to enforce now.
        until: when the last step ends, epoch seconds.
        rate: requests per minute while the action is throttle.
        mark: id of the mark to put on responses.
        reason: id of the alert, or of an operator's change.
        scope: what the subject is: api_key, account or end_user.
        steps: actions from now on, and when each ends, epoch seconds.
        shadow: the action that is held back, by shadow mode, the kill switch or the allow-list.
    """

    subject: str | None
    decision: Action
    until: float | None = None
    rate: float | None = None
    mark: str | None = None
    reason: str | None = None
    scope: Scope | None = None
    steps: tuple[tuple[Action, float], ...] = ()
    shadow: Action | None = None


def applied(find: Callable[[float], Effective], now: float) -> Applied:
    """What applies now and later.

    Args:
        find: what applies at a time, epoch seconds.
        now: wall-clock time, epoch seconds.
    """
    found = find(now)
    decision = found.decision
    if decision is None:
        return Applied(None, "observe")
    steps = _steps(find, found, now)
    return Applied(
        subject=decision.key,
        decision=found.action,
        until=steps[-1][1] if steps else decision.until,
        rate=decision.rate,
        mark=decision.mark,
        reason=decision.reason,
        scope=decision.scope,
        steps=steps,
        shadow=found.would_be if found.action == "observe" != found.would_be else None,
    )


def _steps(
    find: Callable[[float], Effective], found: Effective, now: float
) -> tuple[tuple[Action, float], ...]:
    """The actions from now on, each with its end."""
    steps: list[tuple[Action, float]] = []
    while found.decision is not None and found.action != "observe" and len(steps) < _MOST_STEPS:
        end = found.decision.step_at(now)[1]
        if steps and steps[-1][0] == found.action:
            steps.pop()
        steps.append((found.action, end))
        now = end
        found = find(now)
    return tuple(steps)
