"""What tests ask any store."""

from __future__ import annotations

from monitor.alerting.alerts import ACTIONS
from monitor.alerting.decisions import ActiveDecision
from monitor.store.base import Store


def decision_in(store: Store, key: str) -> ActiveDecision | None:
    """The strongest decision in force on a key, the first of equals; `None` without any."""
    (found,) = store.in_force([key])
    return max(found, key=lambda each: ACTIONS.index(each.action), default=None)
