"""Leave sources out: fit the shipped models without a part of the sources, and score its keys.

    python -m tests.benchmarks.quality.field.leave_out MAKE_TRAFFIC TRAFFIC MAKE_FIELD FIELD FOLDER
        [--folds 3] [--only 1,2,3] [--seeds 1,2,3] [--variants plain]

For each fold of the sources of FIELD, the models are fitted to the other sources, the days are
replayed, and the keys whose source is in the fold are scored. So every source, attack list or
ordinary, is one that the models have not seen. Models and days stay in FOLDER and are not made
again.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from monitor.config import Settings, load
from monitor.records.harvest.task_model import write_tasks
from pipelines.modelling.results import KeyResult
from tests.benchmarks.quality import tasks
from tests.benchmarks.quality.field import tables
from tests.benchmarks.quality.field.days import Day, DayResult, score
from tests.benchmarks.quality.field.folds import Fold, fold_of


def fit(traffic: Path, field: Path, fold: Fold, folder: Path) -> Settings:
    """Settings with models that have not seen the sources of a fold."""
    folder.mkdir(parents=True, exist_ok=True)
    found = folder / "tasks.json"
    if not found.exists():
        found.write_bytes(write_tasks(tasks.fit(traffic, field, fold.without)))
    return load().model_copy(update={"tasks": found})


def merge(parts: list[DayResult]) -> DayResult:
    """One result of a day from those of its folds."""
    keys = {key: each for part in parts for key, each in part.keys.items()}
    campaigns = {
        f"{i}/{name}": members
        for i, part in enumerate(parts)
        for name, members in part.campaigns.items()
        if 2 * sum(key in part.keys for key in members) >= len(members)
    }
    seconds = sum(part.seconds for part in parts) / len(parts)
    return replace(parts[0], keys=keys, campaigns=campaigns, seconds=seconds)


def main(
    traffic_maker: Annotated[Path, typer.Argument(metavar="MAKE_TRAFFIC")],
    traffic: Annotated[Path, typer.Argument(metavar="TRAFFIC", help="Its prompts.")],
    maker: Annotated[Path, typer.Argument(metavar="MAKE_FIELD")],
    field: Annotated[Path, typer.Argument(metavar="FIELD", help="Its prompts.")],
    folder: Annotated[Path, typer.Argument(help="For days and models.")],
    folds: Annotated[int, typer.Option(help="Parts of the sources.")] = 3,
    seeds: Annotated[str, typer.Option(help="Seeds of days.")] = "1,2,3",
    variants: Annotated[str, typer.Option(help="As in `field`.")] = "plain",
    out: Annotated[Path | None, typer.Option("--json", help="Write results per key here.")] = None,
) -> None:
    written: dict[str, dict[str, KeyResult]] = {}
    for variant in variants.split(","):
        parts: dict[str, list[DayResult]] = {}
        for i in range(folds):
            fold = fold_of(field, f"{i + 1}/{folds}")
            settings = fit(traffic, field, fold, folder / f"fold-{i + 1}-of-{folds}")
            for seed in seeds.split(","):
                day = Day.make(maker, field, folder, variant, int(seed))
                result = fold.of(score(day, *day.replay(settings)))
                parts.setdefault(day.name, []).append(result)
                print(tables.summary(f"{day.name} {fold.name}", result.keys.values(), 0.0))
        results = [merge(each) for each in parts.values()]
        written |= {result.day.name: result.keys for result in results}
        print(f"\n{variant}, sources left out")
        tables.show(results)
    if out is not None:
        out.write_bytes(msgspec.json.encode(written))


if __name__ == "__main__":
    typer.run(main)
