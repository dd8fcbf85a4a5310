"""Show the learned baseline."""

from __future__ import annotations

from rich.console import Console

from pipelines.inspect.baseline import BaselineReport
from pipelines.show.style import add_columns, default_console, table


def show(report: BaselineReport, console: Console | None = None) -> None:
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
