"""What is still caught of attackers who evade, and after how many requests.

    python -m tests.benchmarks.quality.evasion DAY.jsonl --labels LABELS.json

Replays a labelled day once for each evasion of `tests/evasions.py`. Only what the keys of campaigns
send is changed; of the ordinary keys a share stays, as it is. Prints a Markdown table: by campaign
the recall of keys with 20 requests or more, and the median of the requests up to a key's first
warning, ordinary ones mixed in included. An attacker of the class `cot` asks for reasoning traces,
a `grader` for grades, any other has a list to work off.
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

COVER = 5  # prompts that a person has at the least who serves as cover
SECRET = "known to this benchmark only"


class Day(NamedTuple):
    """A labelled day.

    Attributes:
        ordinary: time and line of each request that stays as it is.
        attackers: by key, its requests.
        covers: prompts of each person.
    """

    ordinary: list[tuple[float, bytes]]
    attackers: dict[str, list[Event]]
    covers: list[list[str]]


def main(
    traffic: Path,
    labels: Annotated[Path, typer.Option(help="what each key really is")],
    ordinary: Annotated[float, typer.Option(help="share of ordinary keys that stays")] = 0.25,
) -> None:
    really = load_labels(labels)
    settings = Settings(identity_secret=SECRET)
    day = read(traffic, really, ordinary)
    begin, end = day.ordinary[0][0], day.ordinary[-1][0]
    campaigns = {label.campaign: label.kind for label in really.values() if label.campaign}
    names = sorted(campaigns)
    print(f"| evasion | {' | '.join(names)} | ordinary keys accused |")
    print("|---" * (len(names) + 2) + "|")
    for name, evade in evasions.catalogue(day.covers, begin, end).items():
        report = replayed(day, really, name, evade, settings)
        told = [cell(report.scores[-1], each) if evade(campaigns[each]) else "" for each in names]
        judged = sum(each.eligible for each in report.classes if not each.attack)
        false = f"{report.scores[-1].false_keys['all']} of {judged:,}"
        print(f"| {name} | {' | '.join(told)} | {false} |", flush=True)


def read(traffic: Path, labels: Mapping[str, Label], share: float) -> Day:
    """The attackers of a day, and a share of its ordinary keys."""
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
    return Day(ordinary, attackers, [said for said in population.values() if len(said) >= COVER])


def replayed(
    day: Day,
    labels: Mapping[str, Label],
    name: str,
    evade: Callable[[str], Evasion | None],
    settings: Settings,
) -> evaluate.EvaluationReport:
    """How well the day is judged whose attackers evade, its campaigns taken for classes."""
    lines = list(day.ordinary)
    for key, requests in day.attackers.items():
        how = evade(labels[key].kind) or evasions.nothing
        changed = how(Random(f"{name} {key}"), requests)
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
    """Recall and requests, as the table shows them."""
    if campaign not in score.recall:
        return ""
    used = f", {score.requests[campaign][0]}" if campaign in score.requests else ""
    return f"{score.recall[campaign]:.0%}{used}"


if __name__ == "__main__":
    typer.run(main)
