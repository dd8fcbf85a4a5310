"""Rebuild the shipped content model, task model, reference and thresholds from public data sets.

    python -m tests.benchmarks.quality.shipped MAKE_TRAFFIC.py TRAFFIC.json.gz MAKE_FIELD.py
        FIELD.json.gz FOLDER

The models are fitted to all prompts of both corpora (`training/prompts.py`, `tasks.py`). The
reference is not, because a model scores its training prompts as more ordinary than new ones. So the
sources are split into halves: users, templates and tasks of TRAFFIC, attack lists and ordinary
sources of FIELD. Ordinary days of each half are scored with models fitted to the other half. Both
halves together are the reference. The thresholds are fitted to the cross-fitted scores of their
keys, so they hold for sources that the models have not seen.

MAKE_TRAFFIC.py and MAKE_FIELD.py make a day: `MAKER CORPORA FOLDER --seed N --ordinary` writes
FOLDER/traffic.jsonl and FOLDER/labels.json, which names the source of each key as `list`. On one
core (OMP_NUM_THREADS=1) the same corpora give the same files.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Annotated, Any, NamedTuple
from zlib import crc32

import msgspec
import numpy as np
import numpy.typing as npt
import typer

from monitor.config import Settings
from monitor.prompts.content_model import Content, write_content
from monitor.records.baseline import write_reference
from monitor.records.harvest.task_model import write_tasks
from pipelines.modelling.cross_fitting import cross_score, pool, split_reference
from pipelines.modelling.fit_content import fit_content
from pipelines.modelling.learn import extract_features
from pipelines.modelling.thresholds import fit_thresholds
from tests.benchmarks.quality import tasks
from tests.benchmarks.quality.training.prompts import training

CONTENT = Path("monitor/prompts/content.json")
TASKS = Path("monitor/records/harvest/tasks.json")
REFERENCE = Path("monitor/records/reference.json")
TRAFFIC_SEEDS, FIELD_SEEDS = (21, 22), (31, 32)  # of ordinary days
WEIGHT = 20_000.0  # key-days that the reference counts as, about its real number
KEYS, FALSE_ALERTS = 3_300.0, 1.0  # ordinary keys and false alerts per day
_BLOCK = 50  # consecutive prompts of a list that stay together

Corpora = dict[str, Any]


class Maker:
    """A program that makes days, and its corpora."""

    def __init__(self, program: Path, corpora: Path) -> None:
        self.program, self.path = program, corpora
        with gzip.open(corpora, "rt", encoding="utf-8") as file:
            self.corpora: Corpora = json.load(file)

    def day(self, folder: Path, seed: int, corpora: Path | None = None) -> Path:
        """An ordinary day in `folder`, made if missing."""
        if not (folder / "labels.json").exists():
            files = [str(self.program), str(corpora or self.path), str(folder)]
            command = [sys.executable, *files, "--seed", str(seed), "--ordinary"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return folder


def fit_model(
    traffic: Corpora, field: Corpora, out: Path, without: frozenset[str] = frozenset()
) -> Path:
    """Fit a content model to both corpora, without the sources of these names, and save it."""
    found = training(traffic, field, without)
    features = {
        name: {kind: extract_features(list(dict.fromkeys(p))) for kind, p in prompts.items()}
        for name, prompts in (("lists", found.lists), ("contrasts", found.contrasts))
    }
    ordinary = extract_features(list(dict.fromkeys(found.ordinary)))
    model = fit_content(ordinary, features["lists"], Content.none(), features["contrasts"])
    notes = {
        "from": "tests/benchmarks/quality/shipped.py",
        "sources": sorted({*field["sources"], *_parts(traffic)} - without),
        "ordinary_prompts": len(ordinary.family),
        "listed_prompts": {kind: len(each.family) for kind, each in features["lists"].items()},
    }
    out.write_bytes(write_content(model, **notes))
    return out


class Models(NamedTuple):
    """The files of the models and of the reference."""

    content: Path
    tasks: Path
    reference: Path


def build(
    traffic: Maker,
    field: Maker,
    folder: Path,
    out: Models,
    without: frozenset[str] = frozenset(),
) -> tuple[npt.NDArray[np.float64], float]:
    """Fit the models to both corpora without some sources of `field`, and build the reference.

    Args:
        folder: for ordinary days, made if missing.
        out: the files to write; the models of the halves go beside them.

    Returns:
        the smallest probability of each evaluated ordinary key-day, `(n,) float64`, and the number
        of key-days.
    """
    fit_model(traffic.corpora, field.corpora, out.content, without)
    fit_tasks(traffic.path, field.path, out.tasks, without)
    results, key_days, beside = [], 0.0, out.content.parent
    field_days = [field.day(folder / f"field-{seed}", seed) for seed in FIELD_SEEDS]
    unseen = split_sources(field.corpora)
    halves = [
        Maker(traffic.program, _save(half, beside / f"traffic-{i}.json.gz"))
        for i, half in enumerate(split_traffic(traffic.corpora))
    ]
    for i, (half, other) in enumerate(zip(halves, reversed(halves), strict=True)):
        left_out = unseen[i] | without
        settings = Settings(
            content=fit_model(other.corpora, field.corpora, beside / f"content-{i}.json", left_out),
            tasks=fit_tasks(other.path, field.path, beside / f"tasks-{i}.json", left_out),
        )
        days = [half.day(folder / f"half-{i}-{seed}", seed) for seed in TRAFFIC_SEEDS]
        files = [_kept(day, _is_ordinary, beside / f"{day.name}.jsonl") for day in days]
        files += [
            _half(day, unseen, i, without, beside / f"{day.name}.jsonl") for day in field_days
        ]
        split = split_reference(files, settings)
        results.append(cross_score(files, settings, split.halves, WEIGHT))
        key_days += split.key_days
    reference = pool([half for each in results for half in each.halves], WEIGHT)
    notes = {
        "from": "tests/benchmarks/quality/shipped.py",
        "sources": sorted({*field.corpora["sources"], *_parts(traffic.corpora)} - without),
        "seen_key_days": key_days,
    }
    out.reference.write_bytes(write_reference(reference, **notes))
    return np.concatenate([np.min([*each.smallest.values()], axis=0) for each in results]), key_days


def fit_tasks(traffic: Path, field: Path, out: Path, without: frozenset[str]) -> Path:
    """Fit a task model to both corpora, without the sources of these names, and save it."""
    model = tasks.fit(traffic, field, without)
    named = tasks.sources(traffic, field, without)
    notes = {
        "from": "tests/benchmarks/quality/shipped.py",
        "sources": sorted({name for part in named for name in part}),
    }
    out.write_bytes(write_tasks(model, **notes))
    return out


def split_traffic(prompts: Corpora, seed: int = 1) -> list[Corpora]:
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


def split_sources(field: Corpora) -> list[frozenset[str]]:
    """The names of the sources in two halves, each with a share of every kind and language."""
    named = sorted(field["sources"], key=lambda n: (*_kind(field["sources"][n]), n))
    return [frozenset(named[i::2]) for i in range(2)]


def _kind(source: Corpora) -> tuple[str, str]:
    return source["kind"], source["language"]


def _parts(traffic: Corpora) -> list[str]:
    return [name for name in traffic if name not in ("arrivals", "phrases")]


def _save(corpora: Corpora, path: Path) -> Path:
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
        json.dump(corpora, file)
    return path


def _half(
    day: Path, halves: list[frozenset[str]], half: int, without: frozenset[str], out: Path
) -> str:
    """The requests of a day's keys whose source is in a half; those of several are shared out."""

    def keep(key: str, label: dict[str, Any]) -> bool:
        source = label.get("list")
        if any(source in names for names in halves):
            return source in halves[half] and source not in without
        return crc32(key.encode()) % len(halves) == half

    return _kept(day, keep, out)


def _is_ordinary(key: str, label: dict[str, Any]) -> bool:
    """Whether a key counts: those that run public benchmarks are neither ordinary nor an attack."""
    return label["class"] != "evaluator"


def _kept(day: Path, keep: Callable[[str, dict[str, Any]], bool], out: Path) -> str:
    """The requests of a day's keys that are kept, by key and label."""
    labels = json.loads((day / "labels.json").read_bytes())
    kept = {key for key, label in labels.items() if keep(key, label)}
    decoder = msgspec.json.Decoder(_Request)
    with (day / "traffic.jsonl").open("rb") as requests, out.open("wb") as file:
        file.writelines(line for line in requests if decoder.decode(line).api_key in kept)
    return str(out)


class _Request(msgspec.Struct):
    api_key: str


def main(
    traffic_maker: Annotated[Path, typer.Argument(metavar="MAKE_TRAFFIC")],
    traffic_corpora: Annotated[Path, typer.Argument(metavar="TRAFFIC")],
    field_maker: Annotated[Path, typer.Argument(metavar="MAKE_FIELD")],
    field_corpora: Annotated[Path, typer.Argument(metavar="FIELD")],
    folder: Annotated[Path, typer.Argument(help="For days and intermediate files.")],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    traffic, field = Maker(traffic_maker, traffic_corpora), Maker(field_maker, field_corpora)
    made = Models(folder / CONTENT.name, folder / TASKS.name, folder / REFERENCE.name)
    smallest, key_days = build(traffic, field, folder, made)
    for file, shipped in zip(made, (CONTENT, TASKS, REFERENCE), strict=True):
        shutil.copy(file, shipped)
    for found in fit_thresholds(smallest, key_days, keys=KEYS, false_alerts=FALSE_ALERTS):
        print(
            f"{found.severity:>8} {found.probability:g}: reached by {found.seen} of "
            f"{key_days:,.0f} key-days, at most {found.max_per_day:.2g} of {KEYS:,.0f} keys per day"
        )


if __name__ == "__main__":
    typer.run(main)
