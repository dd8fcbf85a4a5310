"""Rebuild the shipped content model, reference and thresholds.

    python -m tests.benchmarks.quality.shipped MAKE_TRAFFIC.py CORPORA.json.gz FOLDER

The content model is fitted to all prompts of the corpora (`corpora.py`) and two ordinary days made
from them. The reference is not, because a model scores its training prompts as more ordinary than
new ones. So the corpora are split into halves without a common user, template or task. Four
ordinary days are made from each half and scored with a content model fitted to the other half. Both
halves together are the reference. The thresholds are fitted to the cross-fitted scores of their
keys.

MAKE_TRAFFIC.py makes a day: `MAKE_TRAFFIC.py CORPORA FOLDER --seed N --ordinary` writes
FOLDER/traffic.jsonl. On one core (OMP_NUM_THREADS=1) the same corpora give the same files. It takes
three minutes. For the shipped files it printed:

        info 0.00192: reached by 53 of 21,324 key-days, at most 9.8 of 3,300 keys per day
     warning 0.00019: reached by 2 of 21,324 key-days, at most 0.82 of 3,300 keys per day
    critical 3.1e-06: reached by 0 of 21,324 key-days, at most 0.05 of 3,300 keys per day

The detectors have been tuned on these days: the first run fitted 1.6e-5 for warnings, because of
four applications that ask exam questions, and the minimum similarity to reasoning prompts
(`records/content_levels.py`) was raised as a result. New days may cost more than stated here.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Annotated, Any

import numpy as np
import typer

from monitor.config import Settings
from monitor.prompts.projection import LISTS
from monitor.records.baseline import write_reference
from pipelines.modelling.cross_fitting import CrossScores, cross_score, pool, split_reference
from pipelines.modelling.learn import learn_content
from pipelines.modelling.thresholds import fit_thresholds
from tests.benchmarks.quality import corpora

CONTENT = Path("monitor/prompts/content.json")
REFERENCE = Path("monitor/records/reference.json")
CONTENT_SEEDS, REFERENCE_SEEDS = (11, 12), (21, 22, 23, 24)  # of ordinary days
WEIGHT = 20_000.0  # key-days that the reference counts as, about its real number
KEYS, FALSE_ALERTS = 3_300.0, 1.0  # ordinary keys and false alerts per day
_BLOCK = 50  # consecutive prompts of a list that stay together

Corpora = dict[str, Any]


class Half:
    """A half of the corpora, or all of them, with its own folder."""

    def __init__(self, maker: Path, prompts: Corpora, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._maker, self._folder = maker, folder
        self._corpora = folder / "corpora.json.gz"
        with gzip.open(self._corpora, "wt", encoding="utf-8", compresslevel=1) as file:
            json.dump(prompts, file)

    def days(self, seeds: tuple[int, ...]) -> list[str]:
        """The request files of ordinary days, made if missing."""
        found = [self._folder / f"day-{seed}" for seed in seeds]
        for seed, day in zip(seeds, found, strict=True):
            if not (day / "traffic.jsonl").exists():
                files = [str(self._maker), str(self._corpora), str(day)]
                subprocess.run(
                    [sys.executable, *files, "--seed", str(seed), "--ordinary"],
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
        return [str(day / "traffic.jsonl") for day in found]

    def content(self, out: Path, source: str = "") -> Path:
        """Fit a content model to it."""
        corpora.main(self._corpora, self._folder / "lists")
        lists = [str(self._folder / "lists" / f"{kind}.jsonl") for kind in LISTS]
        learn_content(self.days(CONTENT_SEEDS), lists, Settings(), out, source=source)
        return out

    def score(self, content: Path) -> tuple[CrossScores, float]:
        """The scores of its ordinary keys with a content model, and the number of key-days."""
        settings, days = Settings(content=content), self.days(REFERENCE_SEEDS)
        split = split_reference(days, settings)
        return cross_score(days, settings, split.halves, WEIGHT), split.key_days


def split_corpora(prompts: Corpora, seed: int = 1) -> list[Corpora]:
    """Two halves without a common user, template, task or block of a list."""
    random = Random(seed)

    def parts(items: list[Any]) -> list[list[Any]]:
        items = list(items)
        random.shuffle(items)
        return [items[0::2], items[1::2]]

    def blocks(items: list[str]) -> list[list[str]]:
        cut = [items[i : i + _BLOCK] for i in range(0, len(items), _BLOCK)]
        return [[each for block in part for each in block] for part in parts(cut)]

    halves: list[Corpora] = [{**prompts}, {**prompts}]
    for name, items in prompts.items():
        if name in ("templates", "sweep"):
            named = parts(sorted(items))
            split: list[Any] = [{each: items[each] for each in part} for part in named]
        elif name in ("instruct", "reasoning"):
            split = blocks(items)
        elif name == "chat":
            split = parts(items)
        else:
            continue
        for half, part in zip(halves, split, strict=True):
            half[name] = part
    return halves


def main(
    maker: Annotated[Path, typer.Argument(help="The program that makes days.")],
    path: Annotated[Path, typer.Argument(metavar="CORPORA", help="See `corpora.py`.")],
    folder: Annotated[Path, typer.Argument(help="For days and intermediate files.")],
) -> None:
    prompts = corpora.load(path)
    source = f"{path.name}: ordinary days of seeds {{}}, tests/benchmarks/quality/shipped.py"
    whole = Half(maker, prompts, folder / "all")
    whole.content(CONTENT, source.format(CONTENT_SEEDS))
    halves = [
        Half(maker, each, folder / f"half-{i}") for i, each in enumerate(split_corpora(prompts))
    ]
    models = [half.content(folder / f"content-{i}.json") for i, half in enumerate(halves)]
    results = [half.score(model) for half, model in zip(halves, reversed(models), strict=True)]
    key_days = sum(each for _, each in results)
    reference = pool([half for each, _ in results for half in each.halves], WEIGHT)
    notes = {"from": source.format(REFERENCE_SEEDS), "seen_key_days": key_days}
    REFERENCE.write_bytes(write_reference(reference, **notes))
    smallest = np.concatenate([np.min([*each.smallest.values()], axis=0) for each, _ in results])
    for found in fit_thresholds(smallest, key_days, keys=KEYS, false_alerts=FALSE_ALERTS):
        print(
            f"{found.severity:>8} {found.probability:g}: reached by {found.seen} of "
            f"{key_days:,.0f} key-days, at most {found.max_per_day:.2g} of {KEYS:,.0f} keys per day"
        )


if __name__ == "__main__":
    typer.run(main)
