"""Two rivals on the same days, at the same number of flagged ordinary keys.

    python -m tests.benchmarks.quality.field.rivals trees DAY ... --corpora CORPORA
    python -m tests.benchmarks.quality.field.rivals mmd DAY ... --reference DAY

Each DAY is a folder that `tests.benchmarks.quality.field` made. The threshold of a rival is the one
that flags one ordinary key of 1,500 (`--one-in`), the best for it in hindsight. Both see whole
days, and so tell of no requests until a key is flagged.

    trees   gradient-boosted trees (scikit-learn) on the features of a key's day (`features.py`),
            fitted to the keys of the other sources of all days, in five folds
    mmd     the published method (arXiv 2606.05725): MMD between a sample of the key's prompts and
            ordinary prompts of another day, Gaussian kernel, MiniLM embeddings (`../minilm.py`)
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from pathlib import Path
from random import Random
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
import typer

from pipelines.modelling.results import MIN_REQUESTS, KeyResult
from tests.benchmarks.quality.field import features, tables
from tests.benchmarks.quality.field.days import Day, DayResult, score
from tests.benchmarks.quality.field.folds import fold_of

_FOLDS = 5
_SAMPLE = 16  # prompts of a key that are embedded
_REFERENCE = 3_000  # ordinary prompts
_FLEET = 24  # keys of a fleet that are embedded at most

Scores = dict[str, float]
OneIn = Annotated[int, typer.Option(help="Ordinary keys per flagged one.")]
Days = Annotated[list[Path], typer.Argument(metavar="DAY...")]
commands = typer.Typer()


@commands.command()
def trees(
    days: Days,
    corpora: Annotated[Path, typer.Option(help="Whose sources are split.")],
    one_in: OneIn = tables.KEY_DAYS,
) -> None:
    """Gradient-boosted trees on features of each key's day."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    loaded = [Day(each) for each in days]
    begun = time.process_time()
    rows = [features.of_day(day.traffic) for day in loaded]
    read = time.process_time() - begun
    keys = [(day, key) for day, each in zip(loaded, rows, strict=True) for key in each]
    x = np.array([row for each in rows for row in each.values()])
    labels = [day.labels[key] for day, key in keys]
    attack = np.array([label.attack for label in labels])
    enough = np.array([len(day.times[key]) >= MIN_REQUESTS for day, key in keys])
    scores = np.zeros(len(keys))
    results = [score(day, []) for day in loaded]
    for i in range(_FOLDS):
        fold = fold_of(corpora, f"{i + 1}/{_FOLDS}")
        part = {each.day.name: fold.of(each).keys for each in results}
        out = np.array([key in part[day.name] for day, key in keys])
        model = HistGradientBoostingClassifier(
            max_iter=200, learning_rate=0.05, max_leaf_nodes=15, l2_regularization=1.0,
            class_weight="balanced", random_state=1,
        )  # fmt: skip
        fitted = ~out & (enough | ~attack)
        model.fit(x[fitted], attack[fitted])
        scores[out] = model.predict_proba(x[out])[:, 1]
    found: dict[str, Scores] = defaultdict(dict)
    for (day, key), each in zip(keys, scores.tolist(), strict=True):
        found[day.name][key] = each
    tables.show(flag(loaded, found, "trees", read, one_in))


@commands.command()
def mmd(
    days: Days,
    reference: Annotated[Path, typer.Option(help="A day for its ordinary prompts.")],
    one_in: OneIn = tables.KEY_DAYS,
) -> None:
    """MMD of sentence embeddings."""
    loaded = [Day(each) for each in days]
    ordinary = _ordinary_prompts(Day(reference))
    encode = _CachedEncoder(reference.parent / "embeddings.npz")
    sample = encode(ordinary)
    scale = _bandwidth(sample)
    found: dict[str, Scores] = {}
    for day in loaded:
        prompts = _sampled(day)
        flat = encode([prompt for own in prompts.values() for prompt in own])
        ends = np.cumsum([len(own) for own in prompts.values()])
        parts = np.split(flat, ends[:-1])
        found[day.name] = {
            key: _mmd(part, sample, scale) for key, part in zip(prompts, parts, strict=True)
        }
    results = flag(loaded, found, "mmd", 0.0, one_in)
    tables.show(results)
    print(f"MiniLM: {1e6 * encode.seconds / max(encode.count, 1):.0f} ms CPU per 1,000 prompts")


def flag(
    days: list[Day], scores: dict[str, Scores], kind: str, seconds: float, one_in: int
) -> list[DayResult]:
    """Flag the keys of the highest scores, so that one ordinary key of `one_in` is among them."""
    ordinary = sorted(
        (
            scores[day.name].get(key, -np.inf)
            for day in days
            for key, label in day.labels.items()
            if not label.attack
        ),
        reverse=True,
    )
    bound = ordinary[round(len(ordinary) / one_in)]
    results = []
    for day in days:
        keys = {}
        for key, label in day.labels.items():
            score, requests = scores[day.name].get(key), len(day.times[key])
            if label.attack and requests >= MIN_REQUESTS and score is None:
                continue  # of a fleet of which only a part was embedded
            flagged = {kind: requests} if score is not None and score > bound else {}
            fleet = f"{day.name} {label.campaign or key}"
            keys[key] = KeyResult(
                label.kind, label.attack, fleet, label.source or "", requests, flagged
            )
        results.append(DayResult(day, keys, {}, seconds / len(days)))
    return results


class _CachedEncoder:
    """MiniLM embeddings, which are kept in a file because they take hours."""

    def __init__(self, path: Path) -> None:
        from tests.benchmarks.quality.minilm import Encoder

        self._encode, self._path = Encoder(), path
        self.seconds, self.count = 0.0, 0
        self._rows: dict[str, npt.NDArray[np.float16]] = {}
        if path.exists():
            kept = np.load(path)
            self._rows = dict(zip(kept["prompts"].tolist(), kept["rows"], strict=True))

    def __call__(self, prompts: list[str]) -> npt.NDArray[np.float32]:
        """Embeddings of unit length, `(n, 384) float32`."""
        names = [prompt[:2_000] for prompt in prompts]
        missing = [name for name in dict.fromkeys(names) if name not in self._rows]
        for begin in range(0, len(missing), 1_000):
            part = missing[begin : begin + 1_000]
            begun = time.process_time()
            rows = self._encode(part).astype(np.float16)
            self.seconds += time.process_time() - begun
            self.count += len(part)
            self._rows |= dict(zip(part, rows, strict=True))
            np.savez(self._path, prompts=[*self._rows], rows=np.array([*self._rows.values()]))
        return np.array([self._rows[name] for name in names]).astype(np.float32)


class _Request(msgspec.Struct):
    api_key: str
    prompt: str


def _prompts(day: Day) -> dict[str, list[str]]:
    decoder, found = msgspec.json.Decoder(_Request), defaultdict(list)
    with day.traffic.open("rb") as file:
        for line in file:
            request = decoder.decode(line)
            found[request.api_key].append(request.prompt)
    return found


def _sampled(day: Day) -> dict[str, list[str]]:
    """Some prompts of each key that sent enough, and of some keys of each fleet."""
    random, fleets, found = Random(1), Counter[str | None](), {}
    for key, prompts in sorted(_prompts(day).items()):
        label = day.labels.get(key)
        if label is None or len(prompts) < MIN_REQUESTS:
            continue
        if label.attack:
            fleets[label.campaign] += 1
            if fleets[label.campaign] > _FLEET:
                continue
        found[key] = random.sample(prompts, min(_SAMPLE, len(prompts)))
    return found


def _ordinary_prompts(day: Day) -> list[str]:
    """Prompts of random ordinary keys, at most three of each."""
    random, found = Random(1), []
    for key, prompts in sorted(_prompts(day).items()):
        if key in day.labels and not day.labels[key].attack:
            found += random.sample(prompts, min(3, len(prompts)))
    return random.sample(found, min(_REFERENCE, len(found)))


def _bandwidth(sample: npt.NDArray[np.float32]) -> float:
    some = sample[:1_500]
    return float(np.median((2 - 2 * some @ some.T)[np.triu_indices(len(some), 1)]))


def _mmd(own: npt.NDArray[np.float32], sample: npt.NDArray[np.float32], bandwidth: float) -> float:
    """The unbiased MMD², without the constant term of the reference."""
    within = np.exp((own @ own.T - 1) * (2 / bandwidth))
    near = np.exp((own @ sample.T - 1) * (2 / bandwidth)).mean()
    n = len(own)
    return float((within.sum() - n) / (n * (n - 1)) - 2 * near)


if __name__ == "__main__":
    commands()
