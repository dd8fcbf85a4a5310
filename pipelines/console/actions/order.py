"""An order: what a person wants to be decided on one or several subjects."""

from __future__ import annotations

import math
import secrets
from typing import get_args

import msgspec

from monitor.alerting.alerts import Action
from monitor.alerting.caps import is_capped_action
from monitor.alerting.changes import Change, check_subject, checked_seconds, checked_text
from monitor.errors import InputError

MOST = 5_000  # subjects of one order
_SLOWEST = 1.0  # requests per minute; a throttle below that locks a client out


class Order(msgspec.Struct, frozen=True):
    """A decision on several subjects; see `ControlStore.decide`.

    Attributes:
        subjects: pseudonyms of keys, accounts and end users.
        rate: requests per minute, for `throttle`.
        shadow: whether to record it only.
    """

    subjects: tuple[str, ...]
    action: Action
    seconds: float
    why: str
    rate: float | None = None
    shadow: bool = False

    @property
    def locks_out(self) -> bool:
        """Whether it keeps clients out. A very slow throttle does, too."""
        if self.shadow:
            return False
        slow = self.action == "throttle" and (self.rate or _SLOWEST) < _SLOWEST
        return slow or is_capped_action(self.action)


class Outcome(msgspec.Struct, frozen=True):
    """What an order has led to.

    Attributes:
        reference: of its changes in the audit; empty for one change alone.
        changes: one for each subject that was decided on.
        failed: by subject, why there is no decision on it.
        proposal: id of the proposal, if a second person has to approve the order first.
    """

    reference: str = ""
    changes: list[Change] = []
    failed: dict[str, str] = {}
    proposal: str | None = None


def checked(order: Order) -> Order:
    """The order with each subject once.

    Raises:
        InputError: if it cannot be carried out.
    """
    subjects = tuple(dict.fromkeys(order.subjects))
    if not subjects:
        raise InputError("Nothing is selected. Select at least one key.")
    if len(subjects) > MOST:
        raise InputError(
            f"{len(subjects):,} subjects are selected. Select at most {MOST:,}, or their accounts."
        )
    for subject in subjects:
        check_subject(subject)
    if order.action not in get_args(Action):
        raise InputError("There is no such action. Choose one of the list.")
    if order.rate is not None and not (
        order.action == "throttle" and math.isfinite(order.rate) and order.rate > 0
    ):
        raise InputError("A rate belongs to throttle and is above 0 requests per minute.")
    checked_seconds(order.seconds)
    return msgspec.structs.replace(order, subjects=subjects, why=checked_text(order.why, "reason"))


def new_reference() -> str:
    """An id for all changes of one order."""
    return f"r_{secrets.token_hex(10)}"
