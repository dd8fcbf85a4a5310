"""Show the learned baseline."""

from __future__ import annotations

from rich.console import Console

from pipelines.inspect.baseline import Report
from pipelines.show.style import add_columns, default_console, table


def show(report: Report, console: Console | None = None) -> None:
    """Print a report as a table."""
    console = console or default_console()
    rows = table()
    add_columns(rows, "partition", "until")
    add_columns(rows, "key-days", "from the reference", numbers=True)
    for part in report.partitions:
        rows.add_row(part.partition, part.day, f"{part.key_days:,.0f}", f"{part.moved:.4f}")
    rows.add_section()
    rows.add_row("all, and the reference", "", f"{report.key_days:,.0f}", f"{report.moved:.4f}")
    console.print(rows)
    for name, uncertainty in (
        ("meaning", report.meaning_uncertainty),
        ("words", report.words_uncertainty),
    ):
        known = (
            "not known yet"
            if uncertainty is None
            else f"known to a squared error of {uncertainty:.2g}"
        )
        console.print(f"The public's mean of {name} is {known}.")
