"""Leave sources out: fit the shipped models without a part of the sources, and score its keys.

    python -m tests.benchmarks.quality.field.leave_out MAKE_TRAFFIC TRAFFIC MAKE_FIELD FIELD FOLDER
        [--folds 3] [--seeds 1,2,3] [--variants plain] [--labelled DAY ...]

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
from pipelines.modelling import fit_campaigns
from pipelines.modelling.results import KeyResult
from tests.benchmarks.quality import shipped
from tests.benchmarks.quality.field import tables
from tests.benchmarks.quality.field.days import Day, DayResult, score
from tests.benchmarks.quality.field.folds import Fold, fold_of


class Fitting:
    """Fits models to all sources but those of a fold.

    Args:
        traffic, field: programs that make days, and their corpora.
        folder: for ordinary days and the models of each fold.
        labelled: days to which the weights of campaigns are fitted; empty: the shipped ones.
    """

    def __init__(
        self, traffic: shipped.Maker, field: shipped.Maker, folder: Path, labelled: list[Path]
    ) -> None:
        self._traffic, self._field = traffic, field
        self._folder, self._labelled = folder, labelled
        self._days = folder / "ordinary"
        self._days.mkdir(parents=True, exist_ok=True)

    def __call__(self, fold: Fold) -> Settings:
        """Settings that name the models of a fold. Those that are there are not fitted again."""
        folder = self._folder / f"without-{fold.name.replace('/', '-of-')}"
        folder.mkdir(parents=True, exist_ok=True)
        weights = folder / "weights.json"
        models = shipped.Models(
            folder / "content.json", folder / "tasks.json", folder / "reference.json"
        )
        if not models.reference.exists():
            shipped.build(self._traffic, self._field, self._days, models, fold.without)
        settings = load().model_copy(update=models._asdict())
        if not self._labelled:
            return settings
        if not weights.exists():
            fit_campaigns.fit(self._labelled, weights, without=fold.without, settings=settings)
        campaigns = settings.campaigns.model_copy(update={"weights": weights})
        return settings.model_copy(update={"campaigns": campaigns})


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
    labelled: Annotated[
        list[Path] | None,
        typer.Option(help="Fit the weights of campaigns to this day. Repeat for more days."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--json", help="Write results per key here.")] = None,
) -> None:
    makers = shipped.Maker(traffic_maker, traffic), shipped.Maker(maker, field)
    fit = Fitting(*makers, folder, labelled or [])
    written: dict[str, dict[str, KeyResult]] = {}
    for variant in variants.split(","):
        parts: dict[str, list[DayResult]] = {}
        for i in range(folds):
            fold = fold_of(field, f"{i + 1}/{folds}")
            settings = fit(fold)
            for seed in seeds.split(","):
                day = Day.make(maker, field, folder, variant, int(seed))
                result = fold.of(score(day, *day.replay(settings)))
                parts.setdefault(day.name, []).append(result)
                name = f"{day.name} {fold.name}"
                print(tables.summary(name, result.keys.values(), result.seconds), flush=True)
        results = [merge(each) for each in parts.values()]
        written |= {result.day.name: result.keys for result in results}
        print(f"\n{variant}, sources left out")
        tables.show(results)
    if out is not None:
        out.write_bytes(msgspec.json.encode(written))


if __name__ == "__main__":
    typer.run(main)
