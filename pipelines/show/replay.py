"""Show the summary of a replay."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from monitor.alerting.alerts import SEVERITIES
from pipelines.show.style import SEVERITY_STYLES, add_columns, count, default_console, table
from pipelines.traffic.replay import ReplaySummary, severity_rank
from pipelines.traffic.sample import FEW_TEXTS, Sample

_TOP = 15


def show(summary: ReplaySummary, console: Console | None = None) -> None:
    """Print a summary as tables."""
    console = console or default_console()
    rate = summary.events / summary.seconds if summary.seconds else 0.0
    console.print(
        f"{count(summary.events, 'request')} in {summary.seconds:.1f} s ({rate:,.0f}/s), "
        f"{summary.repeated:,} repeated, {summary.rejected.total():,} rejected."
    )
    if summary.late:
        console.print(f"  {count(summary.late, 'request')} late, counted at the time reached")
    if summary.refused:
        statuses = ", ".join(f"{number:,} with {each}" for each, number in summary.refused.items())
        console.print(f"  {summary.refused.total():,} not evaluated, refused: {statuses}")
    for name, number in summary.unreadable.most_common():
        console.print(f"  {number:,} read without {name}, which cannot be read")
    for reason, number in summary.ignored.most_common():
        console.print(f"  {number:,} records that are no request: {reason}")
    for line in (*summary.rejected.lines(), *gaps(summary.sample)):
        console.print(f"  {line}", markup=False)
    console.print()
    if not summary.worst:
        console.print("No alerts.")
        return
    kinds = table("Alerts opened or raised")
    add_columns(kinds, "kind")
    add_columns(kinds, *SEVERITIES, numbers=True)
    for kind in sorted({kind for kind, _ in summary.alerts}):
        kinds.add_row(kind, *(f"{summary.alerts[kind, severity]:,}" for severity in SEVERITIES))
    console.print(kinds)
    console.print()
    worst = sorted(
        summary.worst.values(),
        key=lambda alert: (alert.kind != "campaign", -severity_rank(alert), alert.detected_at),
    )
    subjects = table(f"{count(len(worst), 'subject')}: campaigns, then keys, most severe first")
    add_columns(subjects, "severity", "decision")
    subjects.add_column("summary")
    for alert in worst[:_TOP]:
        severity = Text(alert.severity, SEVERITY_STYLES[alert.severity])
        subjects.add_row(severity, alert.decision, Text(alert.summary))
    console.print(subjects)
    if len(worst) > _TOP:
        console.print(f"… and {len(worst) - _TOP:,} more. `--alerts FILE` writes all of them.")


def gaps(sample: Sample) -> list[str]:
    """What the requests of a sample lack, each with the remedy."""
    lines = []
    if sample.without_prompt and sample.requests:
        share = sample.without_prompt / sample.requests
        lines.append(
            f"{share:.0%} of requests have no prompt: only their volume is evaluated. Log prompts, "
            "or name their field in the mapping"
        )
    if share := sample.placeholder_share:
        texts = min(len(sample.texts), FEW_TEXTS)
        lines.append(
            f"{share:.0%} of prompts are {count(texts, 'text')}, as of a log that redacts prompts: "
            "only their volume tells something"
        )
    return lines
