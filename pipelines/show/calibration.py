"""Show the baseline that workers have learned, and the thresholds that `calibrate` has fitted."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table

from pipelines.inspect.baseline import BaselineReport
from pipelines.modelling.settings_file import CONFIDENCE_TEXT, Calibration, format_rate
from pipelines.show.style import add_columns, default_console, table


def show(calibration: Calibration, console: Console | None = None) -> None:
    """Print the thresholds, and how many of the recording's own key-days reach them."""
    console = console or Console()
    severities = _table("Thresholds", "probability", "max per day", "seen per day", "seen")
    days = calibration.split.days
    for each in calibration.thresholds:
        severities.add_row(
            each.severity,
            f"{each.probability:g}",
            format_rate(each.max_per_day),
            format_rate(each.seen / days),
            f"{each.seen:,}",
        )
    console.print(severities)
    detectors = _table(
        "Ordinary key-days that reach a threshold",
        *(each.severity for each in calibration.thresholds),
    )
    for name, p in calibration.smallest.items():
        counts = [np.count_nonzero(p <= each.probability) for each in calibration.thresholds]
        detectors.add_row(name, *(f"{count:,}" if count else "·" for count in counts))
    console.print(detectors)
    console.print(
        f"{calibration.split.key_days:,.0f} key-days in {days:.1f} days; each half of the keys was "
        f"scored against the other. Max per day: for {calibration.keys:,.0f} ordinary keys per "
        f"day, with {CONFIDENCE_TEXT}.",
        markup=False,
    )
    if calibration.caveat:
        console.print(calibration.caveat, markup=False)


def show_baseline(report: BaselineReport, console: Console | None = None) -> None:
    """Print a report as a table and a sentence."""
    console = console or default_console()
    rows = table()
    add_columns(rows, "partition", "learned until")
    add_columns(rows, "key-days", "distance", numbers=True)
    for part in report.partitions:
        day = part.day or "first day not over"
        rows.add_row(part.partition, day, f"{part.key_days:,.0f}", f"{part.moved:.4f}")
    rows.add_section()
    rows.add_row("all and reference", "", f"{report.key_days:,.0f}", f"{report.moved:.4f}")
    console.print(rows)
    console.print("Distance: of the mean prompt from that of the reference.")
    if report.meaning_uncertainty is None:
        console.print("The mean prompt of ordinary keys is not known yet.")
    else:
        console.print(
            "Expected squared error of the mean prompt of ordinary keys: "
            f"{report.meaning_uncertainty:.2g}."
        )


def _table(title: str, *columns: str) -> Table:
    rows = table(title)
    rows.add_column("")
    add_columns(rows, *columns, numbers=True)
    return rows
