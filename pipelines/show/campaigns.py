"""Show the table of campaigns."""

from __future__ import annotations

from datetime import UTC, datetime

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.inspect.campaigns import SHORT, Line, Report
from pipelines.show.style import STYLES, count, default_console


def show(report: Report, console: Console | None = None) -> None:
    """Print a report as a table."""
    console = console or default_console()
    table = Table(title="times in UTC", box=box.SIMPLE)
    for name in ("id", "since", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("members", "requests", "tokens", "last hour"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("decision", no_wrap=True)
    table.add_column("why, or why not")
    for each in report.campaigns:
        table.add_row(
            each.id[:SHORT],
            f"{datetime.fromtimestamp(each.since, UTC):%m-%d %H:%M}",
            _state(each),
            f"{each.members:,}",
            f"{each.requests:,}",
            f"{each.tokens:,}",
            f"{each.hour:,}",
            each.decision if each.state == "open" else "",
            each.reason,
        )
    if report.campaigns:
        console.print(table)
    console.print(summary(report))


def summary(report: Report) -> str:
    """A report in a sentence."""
    alive = [each for each in report.campaigns if each.state == "open"]
    members, requests, tokens = (
        sum(getattr(each, name) for each in alive) for name in ("members", "requests", "tokens")
    )
    return (
        f"{count(len(alive), 'campaign')} of {members:,} keys, {requests:,} requests and "
        f"{tokens:,} tokens, among {report.keys:,} keys; "
        f"{count(report.none, 'other group')} {'is' if report.none == 1 else 'are'} none."
    )


def _state(line: Line) -> Text:
    if line.state == "none":
        return Text("no campaign", "dim")
    if line.state != "open":
        return Text(f"{line.state} {datetime.fromtimestamp(line.ended, UTC):%m-%d %H:%M}", "dim")
    assert line.severity is not None
    return Text(line.severity, STYLES[line.severity])
