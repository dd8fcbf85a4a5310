"""Show an evaluation report as tables, with a column per class and a row per detector."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.inspect.campaigns import SHORT
from pipelines.modelling.evaluate import (
    ANY,
    MIN_CAMPAIGN_KEYS,
    MIN_REQUESTS,
    CampaignMatch,
    ClassCount,
    EvaluationReport,
    Score,
)
from pipelines.show.style import count, table


def show(report: EvaluationReport, console: Console | None = None) -> None:
    """Print a report."""
    console = console or Console()
    attacks = [each for each in report.classes if each.attack]
    ordinary = [each for each in report.classes if not each.attack]
    tables = [_recall(report, attacks), _false_keys(report, ordinary)]
    if report.campaigns:
        tables.append(_campaigns(report.campaigns))
    for each in tables:
        console.print(each)
        console.print()
    excluded = [
        f"{flagged:,} of {count(keys, 'key')} of class {name} flagged"
        for name, (flagged, keys) in report.excluded.items()
    ]
    if excluded:
        text = f"Excluded, neither attack nor ordinary: {', '.join(excluded)}."
        console.print(text, markup=False)
    if report.unlabelled:
        console.print(f"Excluded: {count(report.unlabelled, 'key')} without a label.")
    together = report.scores[-1]
    console.print(
        f"{report.requests:,} requests in {report.hours:.1f} hours, keys flagged from "
        f"1 in {1 / report.warning:,.0f}: recall {together.recall.get('all', 0.0):.3f}, "
        f"{together.false_keys_per_day:.1f} false keys per day."
    )


def _recall(report: EvaluationReport, attacks: list[ClassCount]) -> Table:
    rows = _table(f"Recall of keys with {MIN_REQUESTS} requests or more", attacks)
    rows.add_row("keys", *_counts([each.eligible for each in attacks]))
    rows.add_section()
    for score in report.scores:
        _row(rows, score, attacks, lambda score, name: _share(score.recall.get(name)))
    rows.add_section()
    for i, quantile in enumerate(("requests, median", "requests, 90%")):
        used = [report.scores[-1].requests.get(name) for name in (*_names(attacks), "all")]
        rows.add_row(quantile, *(f"{each[i]:,}" if each else "" for each in used))
    return rows


def _false_keys(report: EvaluationReport, ordinary: list[ClassCount]) -> Table:
    rows = _table("Ordinary keys flagged", ordinary)
    rows.add_column("per day", justify="right")
    rows.add_row("keys", *_counts([each.eligible for each in ordinary]))
    rows.add_section()
    for score in report.scores:
        _row(
            rows,
            score,
            ordinary,
            lambda score, name: f"{score.false_keys[name]:,}" if score.false_keys[name] else "·",
            f"{score.false_keys_per_day:.1f}",
        )
    return rows


def _campaigns(campaigns: list[CampaignMatch]) -> Table:
    rows = _titled(f"Campaigns of {MIN_CAMPAIGN_KEYS} such keys or more")
    for name in ("keys", "found as", "recall", "precision"):
        rows.add_column(name, justify="left" if name == "found as" else "right")
    for each in campaigns:
        found = (each.found or "not found")[:SHORT]
        shares = (_share(each.recall), _share(each.precision))
        rows.add_row(Text(each.name), f"{each.keys:,}", found, *shares)
    return rows


def _table(title: str, classes: list[ClassCount]) -> Table:
    rows = _titled(title)
    for name in (*_names(classes), "all"):
        rows.add_column(Text(name), justify="right")
    return rows


def _titled(title: str) -> Table:
    rows = table(title)
    rows.add_column("")
    return rows


def _row(
    rows: Table,
    score: Score,
    classes: list[ClassCount],
    cell: Callable[[Score, str], str],
    *more: str,
) -> None:
    style = "bold" if score.name == ANY else ""
    rows.add_row(
        score.name, *(cell(score, name) for name in (*_names(classes), "all")), *more, style=style
    )


def _names(classes: list[ClassCount]) -> list[str]:
    return [each.name for each in classes]


def _counts(numbers: list[int]) -> list[str]:
    return [f"{each:,}" for each in (*numbers, sum(numbers))]


def _share(share: float | None) -> str:
    """A share with two decimals. Only a share of exactly 0 or 1 is shown as such."""
    if share is None:
        return ""
    return "·" if share == 0 else "1" if share == 1 else f"{min(max(share, 0.01), 0.99):.2f}"
