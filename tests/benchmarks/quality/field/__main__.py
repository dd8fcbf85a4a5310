"""Recall and false alerts on labelled days of sources and behaviour that the monitor is not from.

    python -m tests.benchmarks.quality.field MAKER CORPORA FOLDER [--seeds 1,2,3]
        [--variants plain,strip,pace1.5,pace3,volume4] [--fold K/N] [--json OUT]

MAKER makes a day: `MAKER CORPORA FOLDER --seed N` writes FOLDER/traffic.jsonl and
FOLDER/labels.json, `{API key: {"class", "campaign", "side": "attack" or "benign", "list"}}`, where
`list` is the source of the prompts. Days stay in FOLDER and are not made again. A day of 550,000
requests takes a minute.

`--fold K/N` scores only the keys whose source is in part K of N. `XM_CONTENT` and `XM_REFERENCE`
name another model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from monitor.config import load
from tests.benchmarks.quality.field import tables
from tests.benchmarks.quality.field.days import VARIANTS, Day, DayResult, score
from tests.benchmarks.quality.field.folds import fold_of


def main(
    maker: Annotated[Path, typer.Argument(help="The program that makes days.")],
    corpora: Annotated[Path, typer.Argument(help="Its prompts.")],
    folder: Annotated[Path, typer.Argument(help="For days and their alerts.")],
    seeds: Annotated[str, typer.Option(help="Seeds of days.")] = "1,2,3",
    variants: Annotated[str, typer.Option(help=f"Of {', '.join(VARIANTS)}.")] = "plain",
    fold: Annotated[str, typer.Option(help="Score part K of N of the sources.")] = "1/1",
    scored: Annotated[bool, typer.Option("--scored", help="Score the last replay again.")] = False,
    brief: Annotated[bool, typer.Option("--brief", help="Do not list sources.")] = False,
    out: Annotated[Path | None, typer.Option("--json", help="Write results per key here.")] = None,
) -> None:
    settings, part = load(), fold_of(corpora, fold)
    written: dict[str, dict[str, object]] = {}
    for variant in variants.split(","):
        results: list[DayResult] = []
        for seed in seeds.split(","):
            day = Day.make(maker, corpora, folder, variant, int(seed))
            alerts, seconds = (day.alerts(), 0.0) if scored else day.replay(settings)
            results.append(part.of(score(day, alerts, seconds)))
            written[day.name] = dict(results[-1].keys)
        print(f"\n{variant}")
        tables.show(results, sources=not brief)
    if out is not None:
        out.write_bytes(msgspec.json.encode(written))


if __name__ == "__main__":
    typer.run(main)
