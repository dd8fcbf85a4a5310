"""Remake what is shipped: the content model, the reference of the public, and the thresholds.

    python -m tests.benchmarks.quality.shipped MAKE_TRAFFIC.py CORPORA.json.gz FOLDER

The content model is learned from all prompts of the corpora (`corpora.py`) and two ordinary days
of them. The reference must not be: to a model that has read them, ordinary prompts look more
ordinary than any that come tomorrow. So the corpora are halved, users, templates and tasks each in
one half; four ordinary days are composed of either half, and judged by a content model that was
learned from the other. Both together are the reference, and what their keys were found to be, by a
reference that they had no part in, gives the thresholds.

MAKE_TRAFFIC.py composes a day: `MAKE_TRAFFIC.py CORPORA FOLDER --seed N --ordinary` writes
FOLDER/traffic.jsonl. The same corpora give the same files, on one core (OMP_NUM_THREADS=1). It
takes three minutes, and printed of what is shipped:

        info 0.00192: 53 of 21,324 key-days reached it, at most 9.8 of 3,300 keys do on a day
     warning 0.00019: 2 of 21,324 key-days reached it, at most 0.82 of 3,300 keys do on a day
    critical 3.1e-06: 0 of 21,324 key-days reached it, at most 0.05 of 3,300 keys do on a day

These days are not new to the detectors any more. The first run fitted 1.6e-5 for warnings, because
of four applications that ask exam questions; from where likeness to requests for reasoning counts
(`records/content_levels.py`) was raised then, having seen them. So new days may cost more than
this says.
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
LEARNED, JUDGED = (11, 12), (21, 22, 23, 24)  # seeds of ordinary days
WEIGHT = 20_000.0  # key-days that the reference counts as, about as many as it is of
KEYS, FALSE_ALERTS = 3_300.0, 1.0  # ordinary keys a day, and of them accused
_BLOCK = 50  # neighbours of a list that stay together

Corpora = dict[str, Any]


class Half:
    """A half of the corpora, or all of them, in a folder of its own."""

    def __init__(self, maker: Path, prompts: Corpora, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._maker, self._folder = maker, folder
        self._corpora = folder / "corpora.json.gz"
        with gzip.open(self._corpora, "wt", encoding="utf-8", compresslevel=1) as file:
            json.dump(prompts, file)

    def days(self, seeds: tuple[int, ...]) -> list[str]:
        """Ordinary days, composed unless they are there."""
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
        """A content model of it."""
        corpora.main(self._corpora, self._folder / "lists")
        lists = [str(self._folder / "lists" / f"{kind}.jsonl") for kind in LISTS]
        learn_content(self.days(LEARNED), lists, Settings(), out, source=source)
        return out

    def judged(self, content: Path) -> tuple[CrossScores, float]:
        """Its ordinary keys, by a content model, and how many key-days they are."""
        settings, days = Settings(content=content), self.days(JUDGED)
        split = split_reference(days, settings)
        return cross_score(days, settings, split.halves, WEIGHT), split.key_days


def halved(prompts: Corpora, seed: int = 1) -> list[Corpora]:
    """Both halves: no user, template, task or block of a list is in both."""
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
    maker: Annotated[Path, typer.Argument(help="What composes days.")],
    path: Annotated[Path, typer.Argument(metavar="CORPORA", help="See `corpora.py`.")],
    folder: Annotated[Path, typer.Argument(help="Where days and half-made files go.")],
) -> None:
    prompts = corpora.load(path)
    source = f"{path.name}: ordinary days of seeds {{}}, tests/benchmarks/quality/shipped.py"
    whole = Half(maker, prompts, folder / "all")
    whole.content(CONTENT, source.format(LEARNED))
    halves = [Half(maker, each, folder / f"half-{i}") for i, each in enumerate(halved(prompts))]
    models = [half.content(folder / f"content-{i}.json") for i, half in enumerate(halves)]
    results = [half.judged(model) for half, model in zip(halves, reversed(models), strict=True)]
    key_days = sum(each for _, each in results)
    reference = pool([half for each, _ in results for half in each.halves], WEIGHT)
    notes = {"from": source.format(JUDGED), "seen_key_days": key_days}
    REFERENCE.write_bytes(write_reference(reference, **notes))
    smallest = np.concatenate([np.min([*each.smallest.values()], axis=0) for each, _ in results])
    for found in fit_thresholds(smallest, key_days, keys=KEYS, false_alerts=FALSE_ALERTS):
        print(
            f"{found.severity:>8} {found.probability:g}: {found.seen} of {key_days:,.0f} key-days "
            f"reached it, at most {found.max_per_day:.2g} of {KEYS:,.0f} keys do on a day"
        )


if __name__ == "__main__":
    typer.run(main)
