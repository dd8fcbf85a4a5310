"""Recall, and requests to detection, of attackers that evade.

    python -m tests.benchmarks.quality.evasion DAY.jsonl --labels LABELS.json

Replays a labelled day once for each evasion of `tests/support/evasions.py`. Only the requests of
keys with a campaign change; a share of the ordinary keys stays unchanged. Prints a Markdown table:
for each campaign, the recall among keys with 20 requests or more, and the median number of requests
until a key is flagged, including ordinary requests mixed in. Attackers of class `cot` ask for
reasoning traces, `grader` for grades, all others work through a prompt list.
"""

from __future__ import annotations

import tempfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Annotated, NamedTuple

import msgspec
import typer

from monitor.config import Settings
from pipelines.modelling import evaluate
from pipelines.traffic.files import LineFile
from pipelines.traffic.labels import Label, load_labels
from tests.support import evasions
from tests.support.evasions import Evasion, Event

MIN_COVER_PROMPTS = 5  # of a person whose prompts are mixed in
SECRET = "known to this benchmark only"


class Day(NamedTuple):
    """A labelled day.

    Attributes:
        ordinary: time and line of each unchanged request.
        attackers: requests by key.
        covers: the prompts of each person.
    """

    ordinary: list[tuple[float, bytes]]
    attackers: dict[str, list[Event]]
    covers: list[list[str]]


def main(
    traffic: Path,
    labels: Annotated[Path, typer.Option(help="labels file")],
    ordinary: Annotated[float, typer.Option(help="share of ordinary keys to keep")] = 0.25,
) -> None:
    label_of = load_labels(labels)
    settings = Settings(identity_secret=SECRET)
    day = load_day(traffic, label_of, ordinary)
    begin, end = day.ordinary[0][0], day.ordinary[-1][0]
    campaigns = {label.campaign: label.kind for label in label_of.values() if label.campaign}
    names = sorted(campaigns)
    print(f"| evasion | {' | '.join(names)} | ordinary keys flagged |")
    print("|---" * (len(names) + 2) + "|")
    for name, evade in evasions.catalogue(day.covers, begin, end).items():
        report = replay_evasion(day, label_of, name, evade, settings)
        cells = [cell(report.scores[-1], each) if evade(campaigns[each]) else "" for each in names]
        total = sum(each.eligible for each in report.classes if not each.attack)
        false = f"{report.scores[-1].false_keys['all']} of {total:,}"
        print(f"| {name} | {' | '.join(cells)} | {false} |", flush=True)


def load_day(traffic: Path, labels: Mapping[str, Label], share: float) -> Day:
    """Load the attackers of a day and a share of its ordinary keys."""
    ordinary: list[tuple[float, bytes]] = []
    attackers: dict[str, list[Event]] = defaultdict(list)
    population: dict[str, list[str]] = defaultdict(list)
    with LineFile(traffic) as file:
        for line in (line for lines in file.batches() for line in lines):
            event = msgspec.json.decode(line)
            key = event["api_key"]
            if labels[key].campaign:
                attackers[key].append(event)
                continue
            if labels[key].kind == "chat_user":
                population[key].append(evasions.prompt_of(event))
            if zlib.crc32(key.encode()) < share * 2**32:
                ordinary.append((event["ts"], line))
    return Day(
        ordinary,
        attackers,
        [prompts for prompts in population.values() if len(prompts) >= MIN_COVER_PROMPTS],
    )


def replay_evasion(
    day: Day,
    labels: Mapping[str, Label],
    name: str,
    evade: Callable[[str], Evasion | None],
    settings: Settings,
) -> evaluate.EvaluationReport:
    """Replay the day with one evasion; each campaign is a class of the report."""
    lines = list(day.ordinary)
    for key, requests in day.attackers.items():
        transform = evade(labels[key].kind) or evasions.nothing
        changed = transform(Random(f"{name} {key}"), requests)
        lines += [(event["ts"], msgspec.json.encode(event)) for event in changed]
    lines.sort(key=lambda line: line[0])
    by_campaign = {
        key: msgspec.structs.replace(label, kind=label.campaign or label.kind)
        for key, label in labels.items()
    }
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        file.writelines(line + b"\n" for _, line in lines)
        file.flush()
        return evaluate.build_report(
            evaluate.replay_labelled(file.name, by_campaign, settings), settings
        )


def cell(score: evaluate.Score, campaign: str) -> str:
    """A table cell: recall and median requests."""
    if campaign not in score.recall:
        return ""
    requests = f", {score.requests[campaign][0]}" if campaign in score.requests else ""
    return f"{score.recall[campaign]:.0%}{requests}"


if __name__ == "__main__":
    typer.run(main)
