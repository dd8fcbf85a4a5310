"""Rejected requests of a recording: how many, the first of each kind, and what to do."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from monitor.requests.reasons import Rejection

_REMEDIES = {
    "not_json": "check how the file is written",
    "not_an_object": "name a file whose elements are JSON objects",
    "future": "check the gateway's clock, or the unit of ts in the mapping",
}  # by reason; the details of other reasons say what to do


@dataclass(slots=True)
class Rejections:
    """Rejected requests by reason.

    Attributes:
        numbers: how many.
        first: the detail and the place of the first.
    """

    numbers: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, rejections: Iterable[Rejection], place: Callable[[int], str]) -> None:
        """Count rejections.

        Args:
            place: gives the file and line of a message by its index in the batch.
        """
        for rejection in rejections:
            self.numbers[rejection.reason] += 1
            if rejection.reason not in self.first:
                self.first[rejection.reason] = f"{rejection.detail}; {place(rejection.source)}"

    def merge(self, others: Rejections) -> None:
        """Add the rejections of another recording."""
        self.numbers += others.numbers
        self.first = others.first | self.first

    def total(self) -> int:
        """All rejected requests."""
        return self.numbers.total()

    def lines(self) -> list[str]:
        """Each reason with its number, its first rejection and the remedy."""
        return [
            f"{number:,} rejected as {reason} ({self.first[reason]})"
            + (f": {remedy}" if (remedy := _REMEDIES.get(reason)) else "")
            for reason, number in self.numbers.most_common()
        ]

    def why_nothing(self, files: Sequence[str]) -> str:
        """Why no request of these files could be read, and what to do."""
        names = " ".join(files)
        if not self.numbers:
            return f"{names} has no request. Name a file of requests."
        return (
            f"No request of {names} is valid: {', '.join(self.lines())}. Set XM_MAPPING to the "
            f"format of the file; `xm inspect {shlex.quote(files[0])}` finds it."
        )
