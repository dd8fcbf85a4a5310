"""Tables of counts in which no small count can be read or worked out.

A count below LEAST may point at somebody, so it is not printed. Neither is enough else to keep it
from being the difference between a total and the other counts.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.cases.review.figures import Figure, FigureTable

LEAST = 5
FEW, HIDDEN = f"fewer than {LEAST}", "not shown"


def hidden_in(counts: Mapping[str, int]) -> set[str]:
    """Which counts are not printed, of those that add up to a printed total."""
    hidden = {name for name, count in counts.items() if 0 < count < LEAST}
    others = sorted((count, name) for name, count in counts.items() if count >= LEAST)
    while hidden and (len(hidden) < 2 or sum(counts[name] for name in hidden) < LEAST):
        if not others:
            break
        hidden.add(others.pop(0)[1])
    return hidden


def table_of(
    title: str, counts: Mapping[str, int], unit: str, source: str, total: str = "all"
) -> FigureTable:
    """A table of counts that add up, with their total.

    Args:
        counts: by label.
        total: label of the total.
    """
    hidden = hidden_in(counts)
    rows = [figure_of(label, count, unit, source) for label, count in counts.items()]
    rows = [
        Figure(row.label, None, unit, HIDDEN, source)
        if row.label in hidden and counts[row.label] >= LEAST
        else row
        for row in rows
    ]
    return FigureTable(title, [*rows, figure_of(total, sum(counts.values()), unit, source)])


def figure_of(label: str, count: int, unit: str, source: str) -> Figure:
    """A count by itself."""
    if 0 < count < LEAST:
        return Figure(label, None, unit, FEW, source)
    return Figure(label, count, unit, f"{count:,}", source)
