"""Show the learned baseline."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from pipelines.inspect.baseline import Report
from pipelines.show.style import default_console


def show(report: Report, console: Console | None = None) -> None:
    """Print a report as a table."""
    console = console or default_console()
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("partition", "until"):
        table.add_column(heading)
    for heading in ("key-days", "from the reference"):
        table.add_column(heading, justify="right")
    for part in report.partitions:
        table.add_row(part.partition, part.day, f"{part.key_days:,.0f}", f"{part.moved:.4f}")
    table.add_section()
    table.add_row("all, and the reference", "", f"{report.key_days:,.0f}", f"{report.moved:.4f}")
    console.print(table)
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
