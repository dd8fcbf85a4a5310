"""Thresholds that `calibrate` has fitted, as settings to load and as tables to read."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table

from pipelines.modelling.settings_file import SURE, Calibrated, rate
from pipelines.show.style import add_columns, table


def show(made: Calibrated, console: Console | None = None) -> None:
    """Print what was fitted, and what the recording's own keys would have come to."""
    console = console or Console()
    severities = _table("Thresholds", "probability", "at most a day", "seen a day", "seen")
    days = made.learned.days
    for each in made.thresholds:
        severities.add_row(
            each.severity,
            f"{each.probability:g}",
            rate(each.at_most),
            rate(each.seen / days),
            f"{each.seen:,}",
        )
    console.print(severities)
    detectors = _table("Ordinary key-days seen", *(each.severity for each in made.thresholds))
    for name, p in made.smallest.items():
        counts = [np.count_nonzero(p <= each.probability) for each in made.thresholds]
        detectors.add_row(name, *(f"{count:,}" if count else "·" for count in counts))
    console.print(detectors)
    console.print(
        f"{made.learned.key_days:,.0f} days of a key in {days:.1f} days, each half judged against "
        f"the other. At most: for {made.keys:,.0f} ordinary keys a day, {SURE}.",
        markup=False,
    )
    if made.caveat:
        console.print(made.caveat, markup=False)


def _table(title: str, *columns: str) -> Table:
    rows = table(title)
    rows.add_column("")
    add_columns(rows, *columns, numbers=True)
    return rows
