"""Show what a replay found."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from monitor.alerting.alerts import SEVERITIES
from pipelines.traffic.replay import Account, _rank

_TOP = 15


def show(account: Account, console: Console | None = None) -> None:
    """Print an account as tables."""
    console = console or Console()
    rate = account.events / account.seconds if account.seconds else 0.0
    console.print(
        f"{account.events:,} requests in {account.seconds:.1f} s ({rate:,.0f}/s), "
        f"{account.repeated:,} repeated, {account.rejected.total():,} rejected."
    )
    for reason, count in account.rejected.most_common():
        console.print(f"  rejected as {reason}: {count:,}")
    if not account.worst:
        console.print("No alerts.")
        return
    kinds = Table("alerts", *SEVERITIES)
    for kind in sorted({kind for kind, _ in account.alerts}):
        kinds.add_row(kind, *(f"{account.alerts[kind, severity]:,}" for severity in SEVERITIES))
    console.print(kinds)
    worst = sorted(account.worst.values(), key=lambda a: (-_rank(a), a.detected_at))
    subjects = Table("severity", "decision", "what", title=f"{len(worst):,} subjects")
    for alert in worst[:_TOP]:
        subjects.add_row(alert.severity, alert.decision, alert.summary)
    console.print(subjects)
    if len(worst) > _TOP:
        console.print(f"… and {len(worst) - _TOP:,} more: `--alerts FILE` writes all of them.")
