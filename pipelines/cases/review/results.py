"""What came of a command of a review."""

from __future__ import annotations

from typing import Literal

import msgspec

from monitor.evidence.entries import Appealed, Letter


class Written(msgspec.Struct, frozen=True):
    """A letter, and whether it is new."""

    case: str
    letter: Letter
    is_new: bool


class Recorded(msgspec.Struct, frozen=True):
    """An appeal.

    Attributes:
        in_time: whether it came in the days that the letter gave.
        due_at: when it is to be answered, wall-clock time, epoch seconds.
    """

    case: str
    appeal: Appealed
    in_time: bool
    due_at: float


class Ruling(msgspec.Struct, frozen=True):
    """What came of a ruling.

    Attributes:
        alerts: ids of the alerts that were withdrawn, or that count again.
        lifted: subjects whose other decisions were deleted.
        remaining: subjects with a decision that has another reason, and still holds.
    """

    case: str
    subject: str
    result: Literal["upheld", "overturned"]
    reference: str
    alerts: list[str] = []
    lifted: list[str] = []
    remaining: list[str] = []
