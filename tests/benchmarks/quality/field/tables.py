"""The results of several days as text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import mean

from pipelines.modelling.results import (
    FalseKeys,
    KeyResult,
    Recall,
    false_keys_of,
    mean_recall,
    quantiles,
    recall_of,
    wilson_interval,
)
from tests.benchmarks.quality.field.days import DayResult, Match

KEY_DAYS = 1_500  # that false keys are stated for


def show(results: Sequence[DayResult], *, sources: bool = True) -> None:
    """Print recall by class and source, flagged ordinary keys by kind, and campaigns of them."""
    keys = [key for each in results for key in each.keys.values()]
    print(f"{'':34}{'keys':>6}{'fleets':>7}{'recall':>8}  {'95%':9}{'p50':>6}{'p90':>6}  first by")
    for row in recall_of(keys):
        if sources or not row.source:
            print(recall_line(row))
    for ordinary in false_keys_of(keys):
        if ordinary.flagged and (sources or not ordinary.source):
            print(false_line(ordinary))
    matches: dict[str, list[Match]] = defaultdict(list)
    for each in results:
        for kinds in each.mixed:
            print(f"campaign of ordinary keys on {each.day.name}: {kinds}")
        for match in each.matches if each.campaigns else []:
            matches[match.kind].append(match)
            matches[f"  {match.source}"].append(match)
    for name, found in matches.items():
        if sources or name[0] != " ":
            print(campaign_line(name, found))
    for each in results:
        print(summary(each.day.name, each.keys.values(), each.seconds))
    if len(results) > 1:
        print(summary("all", keys, sum(each.seconds for each in results)))


def recall_line(row: Recall) -> str:
    low, high = row.interval
    p50, p90 = row.requests or ("-", "-")
    first = ", ".join(f"{kind} {count}" for kind, count in row.first.items())
    name = f"  {row.source}" if row.source else row.kind
    return (
        f"{name:34.34}{row.keys:6}{row.fleets:7}{row.recall:8.3f}  {low:.2f}-{high:.2f}"
        f"{p50:>6}{p90:>6}  {first}"
    )


def campaign_line(name: str, found: Sequence[Match]) -> str:
    recall = [match.recall for match in found]
    precision = [match.precision for match in found if match.precision is not None]
    text = f"{'' if name[0] == ' ' else 'campaign '}{name}"
    text = f"{text:34.34}{len(found):13}{mean(recall):8.3f}  worst {min(recall):.2f}"
    if precision:
        text += f"  precision {mean(precision):.3f}, worst {min(precision):.2f}"
    return text


def false_line(row: FalseKeys) -> str:
    kinds = ", ".join(f"{kind} {count}" for kind, count in row.kinds.items())
    name = f"  {row.source}" if row.source else f"ordinary {row.kind}"
    return f"{name:34.34}{row.keys:6}{row.flagged:7} flagged  {kinds}"


def summary(name: str, keys: Iterable[KeyResult], seconds: float) -> str:
    """One line: mean recall over classes, requests until flagged, ordinary keys flagged, cost."""
    keys = list(keys)
    middle, low, high = mean_recall(recall_of(keys))
    ordinary = [key for key in keys if not key.attack]
    flagged = sum(bool(key.flagged) for key in ordinary)
    share = flagged / max(len(ordinary), 1)
    rates = [KEY_DAYS * each for each in (share, *wilson_interval(share, len(ordinary)))]
    until = quantiles(key.until for key in keys if key.attack and key.counts and key.flagged)
    requests = sum(key.requests for key in keys)
    return (
        f"{name:16} mean {middle:.3f} ({low:.2f}-{high:.2f})  p50 {until[0] if until else '-'}  "
        f"false {flagged} of {len(ordinary):,}: {rates[0]:.2f} ({rates[1]:.2f}-{rates[2]:.2f}) "
        f"per {KEY_DAYS:,} key-days  {1e6 * seconds / max(requests, 1):.0f} ms CPU per 1,000 events"
    )
