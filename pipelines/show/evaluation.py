"""Show an evaluation report as tables, with a row per class, source, kind of alert and campaign."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.inspect.campaigns import SHORT
from pipelines.modelling.evaluate import MIN_CAMPAIGN_KEYS, CampaignMatch, EvaluationReport
from pipelines.modelling.labelled_replay import ANY
from pipelines.modelling.results import MIN_REQUESTS, FalseKeys, Recall
from pipelines.show.style import count, table

_LONGEST_KIND = 14  # columns of a kind of alert and a number


def show(report: EvaluationReport, console: Console | None = None) -> None:
    """Print a report."""
    console = console or Console()
    tables = [_false_keys(report.ordinary), _kinds(report)]
    if report.attacks:
        tables.insert(0, _recall(report.attacks))
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
    if report.attacks:
        mean, low, high = report.mean_recall
        text = f"Mean recall over classes {mean:.3f}, 95% interval {_interval(low, high)}. "
        console.print(f"{text}Intervals count fleets, not keys: whole fleets are caught or missed.")
    for name, source in report.seen.items():
        console.print(f"The {name} has seen: {source}", markup=False)
    console.print("Expect less on prompts of other sources.")
    console.print(
        f"{report.requests:,} requests in {report.hours:.1f} hours, keys flagged from "
        f"1 in {1 / report.warning:,.0f}: recall {together.recall.get('all', 0.0):.3f}, "
        f"{together.false_keys_per_day:.1f} false keys per day."
    )


def _recall(recall: list[Recall]) -> Table:
    rows = table(f"Recall of keys with {MIN_REQUESTS} requests or more")
    rows.add_column("", overflow="fold")
    for name in ("keys", "fleets", "recall", "95%", "median", "90%"):
        rows.add_column(name, justify="right", no_wrap=True)
    rows.add_column("first by", min_width=_LONGEST_KIND)
    for each in recall:
        requests = [f"{used:,}" for used in each.requests or ()] or ["", ""]
        rows.add_row(
            _name(each.kind, each.source),
            f"{each.keys:,}",
            f"{each.fleets:,}",
            _share(each.recall),
            _interval(*each.interval),
            *requests,
            _counts(each.first),
            style="" if each.source else "bold",
        )
    return rows


def _false_keys(ordinary: list[FalseKeys]) -> Table:
    """Classes, and the sources whose keys are flagged."""
    rows = table("Ordinary keys flagged")
    rows.add_column("", overflow="fold")
    for name in ("keys", "flagged", "95%"):
        rows.add_column(name, justify="right", no_wrap=True)
    rows.add_column("by", min_width=_LONGEST_KIND)
    for each in ordinary:
        if each.source and not each.flagged:
            continue
        rows.add_row(
            _name(each.kind, each.source),
            f"{each.keys:,}",
            f"{each.flagged:,}" if each.flagged else "·",
            _interval(*each.interval, digits=3),
            _counts(each.kinds),
            style="" if each.source else "bold",
        )
    return rows


def _kinds(report: EvaluationReport) -> Table:
    rows = table("Kinds of alert")
    rows.add_column("")
    for name in ("recall", "ordinary keys", "per day"):
        rows.add_column(name, justify="right")
    for score in report.scores:
        false = score.false_keys["all"]
        rows.add_row(
            score.name,
            _share(score.recall.get("all")),
            f"{false:,}" if false else "·",
            f"{score.false_keys_per_day:.1f}",
            style="bold" if score.name == ANY else "",
        )
    return rows


def _campaigns(campaigns: list[CampaignMatch]) -> Table:
    rows = table(f"Campaigns of {MIN_CAMPAIGN_KEYS} such keys or more")
    for name in ("", "keys", "found as", "recall", "precision"):
        rows.add_column(name, justify="left" if name in ("", "found as") else "right")
    for each in campaigns:
        found = (each.found or "not found")[:SHORT]
        shares = (_share(each.recall), _share(each.precision))
        rows.add_row(Text(each.name), f"{each.keys:,}", found, *shares)
    return rows


def _name(kind: str, source: str) -> Text:
    return Text(f"  {source}" if source else kind)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.items())


def _interval(low: float, high: float, digits: int = 2) -> str:
    return f"{low:.{digits}f}-{high:.{digits}f}"


def _share(share: float | None) -> str:
    """A share with two decimals. Only a share of exactly 0 or 1 is shown as such."""
    if share is None:
        return ""
    return "·" if share == 0 else "1" if share == 1 else f"{min(max(share, 0.01), 0.99):.2f}"
