"""Show the table of keys."""

from __future__ import annotations

from datetime import UTC, datetime

from rich import box
from rich.console import Console
from rich.table import Table

from pipelines.inspect.keys import Report
from pipelines.show.style import default_console


def show(report: Report, by: str, console: Console | None = None) -> None:
    """Print a report as a table."""
    console = console or default_console()
    table = Table(title=f"by {by}, times in UTC", box=box.SIMPLE)
    table.add_column("key", no_wrap=True)
    for name in ("requests", "tokens", "hour", "last seen"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("open alerts")
    table.add_column("decision", no_wrap=True)
    for key in report.top:
        table.add_row(
            key.key,
            f"{key.requests:,}",
            f"{key.tokens:,}",
            f"{key.hour:,}",
            f"{datetime.fromtimestamp(key.last_seen, UTC):%m-%d %H:%M}",
            ", ".join(f"{kind} {severity}" for kind, severity in key.alerts.items()),
            key.decision,
        )
    if report.top:
        console.print(table)
    alerted = ", ".join(f"{count:,} {name}" for name, count in report.alerted.items())
    console.print(
        f"{report.keys:,} keys, {report.requests:,} requests, {report.tokens:,} tokens; "
        f"keys with open alerts: {alerted or 'none'}."
    )
    if report.memory is not None:
        each = report.memory
        console.print(
            f"Bytes a key: {each.record:,} for the record, {each.record_in_redis:,} in Redis with "
            f"name and expiry; {each.used:,} in use there, {each.used_per_key:,} a key. "
            f"A million keys would take {each.million_keys / 1e9:.2f} GB."
        )
