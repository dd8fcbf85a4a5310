"""Show what a replay found."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from monitor.alerting.alerts import SEVERITIES
from pipelines.traffic.replay import ReplaySummary, severity_rank

_TOP = 15


def show(summary: ReplaySummary, console: Console | None = None) -> None:
    """Print a summary as tables."""
    console = console or Console()
    rate = summary.events / summary.seconds if summary.seconds else 0.0
    console.print(
        f"{summary.events:,} requests in {summary.seconds:.1f} s ({rate:,.0f}/s), "
        f"{summary.repeated:,} repeated, {summary.rejected.total():,} rejected."
    )
    for reason, count in summary.rejected.most_common():
        console.print(f"  rejected as {reason}: {count:,}")
    if not summary.worst:
        console.print("No alerts.")
        return
    kinds = Table("alerts", *SEVERITIES)
    for kind in sorted({kind for kind, _ in summary.alerts}):
        kinds.add_row(kind, *(f"{summary.alerts[kind, severity]:,}" for severity in SEVERITIES))
    console.print(kinds)
    worst = sorted(summary.worst.values(), key=lambda a: (-severity_rank(a), a.detected_at))
    subjects = Table("severity", "decision", "what", title=f"{len(worst):,} subjects")
    for alert in worst[:_TOP]:
        subjects.add_row(alert.severity, alert.decision, alert.summary)
    console.print(subjects)
    if len(worst) > _TOP:
        console.print(f"… and {len(worst) - _TOP:,} more: `--alerts FILE` writes all of them.")
