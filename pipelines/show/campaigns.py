"""Show the table of campaigns."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from pipelines.inspect.campaigns import SHORT, Line, Report
from pipelines.show.style import (
    SEVERITY_STYLES,
    add_columns,
    count,
    date_time,
    default_console,
    table,
)


def show(report: Report, console: Console | None = None) -> None:
    """Print a report as a table."""
    console = console or default_console()
    rows = table("Campaigns, times in UTC")
    add_columns(rows, "id", "since", "state")
    add_columns(rows, "members", "requests", "tokens", "last hour", numbers=True)
    add_columns(rows, "decision")
    rows.add_column("why, or why not")
    for each in report.campaigns:
        rows.add_row(
            each.id[:SHORT],
            date_time(each.since),
            _state(each),
            f"{each.members:,}",
            f"{each.requests:,}",
            f"{each.tokens:,}",
            f"{each.hour:,}",
            each.decision if each.state == "open" else "",
            each.reason,
        )
    if report.campaigns:
        console.print(rows)
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
        return Text(f"{line.state} {date_time(line.ended)}", "dim")
    assert line.severity is not None
    return Text(line.severity, SEVERITY_STYLES[line.severity])
