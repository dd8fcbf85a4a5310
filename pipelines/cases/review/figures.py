"""The figures of a transparency report: counts without anything personal."""

from __future__ import annotations

import msgspec


class Figure(msgspec.Struct, frozen=True):
    """A number with its source.

    Attributes:
        label: what is counted.
        value: `None` where it is unknown, or small enough to point at somebody.
        text: the value as a report prints it, such as "fewer than 5".
        source: what it was counted from.
    """

    label: str
    value: float | int | None
    unit: str
    text: str
    source: str


class FigureTable(msgspec.Struct, frozen=True):
    """Figures under one title."""

    title: str
    rows: list[Figure]


class Transparency(msgspec.Struct, frozen=True):
    """The figures of a period, wall-clock time from `since` up to, not including, `until`.

    Attributes:
        notes: what a reader has to know about the figures.
    """

    since: float
    until: float
    tables: list[FigureTable]
    notes: list[str] = []
