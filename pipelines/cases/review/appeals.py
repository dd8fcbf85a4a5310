"""Appeals that wait for a ruling, and how false alerts add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from monitor.alerting.enforcement import Control
from monitor.evidence.rows import CaseRow

DAY = 86_400.0
MONTH = 30 * DAY


class Waiting(msgspec.Struct, frozen=True):
    """An appeal without a ruling. Times are wall-clock, epoch seconds.

    Attributes:
        due_at: when it is to be answered.
    """

    reference: str
    case: str
    subject: str
    received_at: float
    due_at: float

    def is_overdue(self, now: float) -> bool:
        """Whether it should have been answered by now."""
        return now > self.due_at


def waiting(rows: Iterable[CaseRow], answer_days: float) -> list[Waiting]:
    """The appeals that wait, those that are due first on top.

    Args:
        rows: the index of cases.
        answer_days: in which an appeal is to be answered.
    """
    found = [
        Waiting(reference, row.id, row.subject, received, received + answer_days * DAY)
        for row in rows
        for reference, received in row.waiting.items()
    ]
    return sorted(found, key=lambda each: (each.due_at, each.reference))


def withdrawn_lately(control: Control, now: float) -> Counter[str]:
    """By kind, alerts of the last 30 days that people found to be no attack: false alerts."""
    return Counter(
        each.kind
        for each in control.withdrawn.values()
        if not each.for_one and now - each.at < MONTH
    )
