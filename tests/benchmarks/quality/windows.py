"""Accuracy of separating windows with distillation prompts from ordinary windows.

    python -m tests.benchmarks.quality.windows CORPORA.json.gz [--minilm]

The setting of arXiv 2606.05725: windows of 100, 500 and 1,500 prompts, ordinary ones and those with
5, 10, 25, 50 and 100% prompts of a distillation list. No user, task, template or wrapper of a test
window is in the training data of the content model; of ordinary applications, the templates are
known and the documents are not, unless `--new-applications`. The threshold is the 99% quantile of
ordinary windows, so every method has 1% false positives; balanced accuracy is
(.99 + mean recall) / 2. The kernels of the worker turn a window into a record.

"Kind unknown" omits the classifiers of the kinds that are related to the list.

With `--minilm`, the published method (`minilm.py`) scores the same windows, drawn from pools that
are small enough for it, and the time of both is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import typer

from monitor.prompts.content_model import Content
from monitor.prompts.extractor import Extractor, Features
from monitor.prompts.normalise import Texts
from monitor.prompts.projection import LISTS
from monitor.records.admission import READ
from monitor.records.baseline_mean import Sums
from monitor.records.profile import BINS, DAY, LEVELS, RECORD, Profile
from monitor.records.update import Requests, Today, update
from monitor.requests.marks import HAS_PROMPT
from pipelines.modelling.fit_content import PromptFeatures, fit_content
from tests.benchmarks.quality import corpora
from tests.benchmarks.quality.minilm import Discrepancy, Encoder

SIZES, SHARES = (100, 500, 1500), (0.05, 0.1, 0.25, 0.5, 1.0)
FALSE_POSITIVES = 0.01
PROMPTS_PER_USER, TEMPLATED = 50, 0.3
POOL_SIZE = 2_000  # prompts of a pool for the published method
#: Kinds of list whose classifiers respond to each kind of attack.
RELATED = {
    "code": {"code", "grader"},
    "reasoning": {"reasoning", "cot"},
    "sweep": {"sweep"},
    "cot": {"cot", "reasoning"},
    "grader": {"grader", "code"},
    "tools": {"tools"},
}
Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


class Pools(NamedTuple):
    """Prompts, and indices into them by kind."""

    prompts: list[str]
    reference: dict[str, Rows]  # chat, templates, and each of LISTS
    test: dict[str, Rows]


def pools(path: Path, seed: int, new_applications: bool) -> Pools:
    """Split users, templates, tasks and wrappers into two halves."""
    found, random = corpora.load(path), np.random.default_rng(seed)
    prompts: list[str] = []
    halves: tuple[dict[str, list[int]], dict[str, list[int]]] = ({}, {})

    def add(kind: str, groups: Any, half: Any = None) -> None:
        for group in groups:
            which = int(random.random() < 0.5) if half is None else half
            kept = list(dict.fromkeys(p for p in group if p))[:PROMPTS_PER_USER]
            halves[which].setdefault(kind, []).extend(range(len(prompts), len(prompts) + len(kept)))
            prompts.extend(kept)

    add("chat", found["chat"])
    applications = found["templates"].values()
    if not new_applications:
        applications = [[document] for template in applications for document in template]
    add("templates", applications)
    add("sweep", found["sweep"].values())
    add("code", ([prompt] for prompt in found["instruct"]))
    tasks = found["reasoning"]
    add(
        "reasoning",
        (tasks[i : i + PROMPTS_PER_USER] for i in range(0, len(tasks), PROMPTS_PER_USER)),
    )
    for kind, plain, phrases in (("cot", "reasoning", "cot"), ("grader", "code", "grade")):
        for half, wrappers in enumerate((found["phrases"][phrases], corpora.UNSEEN[kind])):
            bare = [prompts[i] for i in halves[half][plain]]
            add(kind, ([p] for p in corpora.wrapped(bare, wrappers)), half)
    reference, test = ({k: np.array(v) for k, v in half.items()} for half in halves)
    return Pools(prompts, reference, test)


class WindowScores(NamedTuple):
    """Scores of windows of one size: ordinary ones, and attacks by kind and share."""

    ordinary: Scores
    attacks: dict[tuple[str, float], Scores]


class Windows(NamedTuple):
    """Windows of one size, `(n, size)`: ordinary ones, and attacks by kind and share."""

    ordinary: Rows
    attacks: dict[tuple[str, float], Rows]

    def score(self, score: Callable[[Rows], Scores]) -> WindowScores:
        attacks = {which: score(rows) for which, rows in self.attacks.items()}
        return WindowScores(score(self.ordinary), attacks)


def windows(test: dict[str, Rows], size: int, templated: float, seed: int) -> Windows:
    """Draw 500 ordinary windows, and 40 of each kind and share."""
    random = np.random.default_rng(seed)

    def drawn(pool: Rows, count: int) -> Rows:
        return random.choice(pool, count, replace=count > len(pool))

    def ordinary(count: int) -> Rows:
        apps = random.binomial(count, templated)
        return np.append(drawn(test["chat"], count - apps), drawn(test["templates"], apps))

    def mixed(kind: str, share: float) -> Rows:
        listed = random.binomial(size, share)
        window = np.append(drawn(test[kind], listed), ordinary(size - listed))
        return random.permutation(window)

    attacks = {
        (kind, share): np.array([mixed(kind, share) for _ in range(40)])
        for kind in LISTS
        for share in SHARES
    }
    plain = [random.permutation(ordinary(size)) for _ in range(500)]
    return Windows(np.array(plain), attacks)


def fit_model(found: Pools, features: Features, templated: float) -> Content:
    """Fit a content model to the reference."""

    def select(rows: Rows) -> PromptFeatures:
        taken = (getattr(features, name)[rows] for name in PromptFeatures._fields)
        return PromptFeatures(*(part.astype(np.float64) for part in taken))

    random = np.random.default_rng(1)
    chat, apps = found.reference["chat"], found.reference["templates"]
    share = int(len(chat) * templated / (1 - templated))
    baseline = np.append(chat, random.choice(apps, share, replace=share > len(apps)))
    lists = {kind: select(found.reference[kind]) for kind in LISTS}
    return fit_content(select(baseline), lists, Content.none())


def recorded(rows: Rows, features: Features) -> Profile:
    """The record of each window, as one key with a prompt every 10 seconds."""
    records = np.zeros(len(rows), RECORD)
    size = rows.shape[1]
    ts = 1.77e9 + 10.0 * np.arange(size)
    requests = Requests(
        ts,
        ts,
        np.zeros(size),
        np.zeros(size, np.uint32),
        np.full(size, HAS_PROMPT, np.uint8),
        np.zeros(size, np.uint32),
        np.zeros((size, 2), np.uint32),
        np.zeros((size, 4), np.uint64),
    )
    found, evaluated = np.full(size, READ, np.uint8), np.empty(size, RECORD)
    at, day = np.empty(size, np.int64), 1.77e9 // DAY
    for key, window in enumerate(rows):
        selected = Features(*(part[window] for part in features))
        today = Today(int(day), np.zeros((LEVELS, BINS)), np.full(LEVELS, 30.0), 1, *Sums.empty())
        where = np.full(size, key)
        update(records, where, found, requests, selected, today, 0, size, evaluated, at)
    return Profile(records)


def record_scores(rows: Rows, features: Features) -> Scores:
    """Departures, then similarity to lists, of windows: `(n, 2 + len(LISTS) * 2)`."""
    key = recorded(rows, features)
    return np.column_stack([key.departure(0), key.departure(1), key.lists.reshape(len(key), -1)])


def accuracy(
    found: WindowScores, columns: Callable[[str], list[int]]
) -> tuple[float, dict[str, float]]:
    """Balanced accuracy of the maximum over some columns, by kind of attack; recall by kind."""
    mean, deviation = found.ordinary.mean(axis=0), found.ordinary.std(axis=0)
    recall: dict[str, list[float]] = {}
    for (kind, _), scores in found.attacks.items():
        own = columns(kind)
        plain, apart = (
            ((each - mean) / deviation)[:, own].max(axis=1) for each in (found.ordinary, scores)
        )
        share = float((apart > np.quantile(plain, 1 - FALSE_POSITIVES)).mean())
        recall.setdefault(kind, []).append(share)
    by_kind = {kind: float(np.mean(shares)) for kind, shares in recall.items()}
    return (1 - FALSE_POSITIVES + float(np.mean(list(by_kind.values())))) / 2, by_kind


def listed(kinds: set[str]) -> list[int]:
    return [2 + 2 * i + e for i, kind in enumerate(LISTS) if kind in kinds for e in (0, 1)]


METHODS: dict[str, Callable[[str], list[int]]] = {
    "departure from ordinary (T²)": lambda kind: [0, 1],
    "and lists, kind unknown": lambda kind: [0, 1, *listed(set(LISTS) - RELATED[kind])],
    "and lists, kind known": lambda kind: [0, 1, *listed(set(LISTS))],
}


def main(
    path: Annotated[Path, typer.Argument(help="See `corpora.py`.")],
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 1,
    new_applications: Annotated[bool, typer.Option("--new-applications")] = False,
    minilm: Annotated[
        bool, typer.Option("--minilm", help="Also score with the published method.")
    ] = False,
    detail: Annotated[bool, typer.Option("--detail", help="Show recall by kind.")] = False,
    cost: Annotated[bool, typer.Option("--cost", help="Measure only the cost per prompt.")] = False,
) -> None:
    found = pools(path, seed, new_applications)
    if cost:
        times(Encoder(), found.prompts)
        return
    texts = [Texts.of(found.prompts[i : i + 2_000]) for i in range(0, len(found.prompts), 2_000)]
    raw = extracted(texts, Content.none())
    drawn_from = limited(found.test, POOL_SIZE) if minilm else found.test
    compared = (
        PublishedMethod(found, limited(found.reference, POOL_SIZE), drawn_from) if minilm else None
    )
    for name, templated in (("chat", 0.0), ("chat and applications", TEMPLATED)):
        features = extracted(texts, fit_model(found, raw, templated))
        print(f"\n| ordinary: {name} | {' | '.join(map(str, SIZES))} |\n|{'---|' * 4}")
        drawn = {size: windows(drawn_from, size, templated, seed) for size in SIZES}
        ours = {
            size: of.score(partial(record_scores, features=features)) for size, of in drawn.items()
        }
        for method, columns in METHODS.items():
            show(method, ours, columns, detail)
        if compared is not None:
            scorer = compared.scorer(templated)
            theirs = {size: of.score(scorer) for size, of in drawn.items()}
            show("exact MMD, RBF, MiniLM", theirs, lambda kind: [0], detail)
    if compared is not None:
        times(compared.encoder, found.prompts)


def show(
    method: str, scores: dict[int, WindowScores], columns: Callable[[str], list[int]], detail: bool
) -> None:
    results = [accuracy(scores[size], columns) for size in SIZES]
    print(f"| {method} | {' | '.join(f'{each:.3f}' for each, _ in results)} |", flush=True)
    for kind in LISTS if detail else ():
        recall = " | ".join(f"{by_kind[kind]:.2f}" for _, by_kind in results)
        print(f"| recall of {kind} | {recall} |")


def extracted(texts: list[Texts], content: Content) -> Features:
    extractor = Extractor(b"1", content)
    parts = [extractor(each) for each in texts]
    return Features(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def limited(pools: dict[str, Rows], size: int) -> dict[str, Rows]:
    """At most `size` prompts of each pool."""
    random = np.random.default_rng(1)
    return {
        kind: random.choice(rows, min(size, len(rows)), replace=False)
        for kind, rows in pools.items()
    }


class PublishedMethod:
    """The published method, applied to windows of some prompts."""

    def __init__(self, found: Pools, reference: dict[str, Rows], test: dict[str, Rows]) -> None:
        self.encoder = Encoder()
        self._reference = {
            kind: self.encoder([found.prompts[i] for i in reference[kind]])
            for kind in ("chat", "templates")
        }
        rows = np.unique(np.concatenate(list(test.values())))
        self._place = np.zeros(len(found.prompts), np.int64)
        self._place[rows] = np.arange(len(rows))
        self._test = self.encoder([found.prompts[i] for i in rows])

    def scorer(self, templated: float) -> Callable[[Rows], Scores]:
        parts = [
            (self._reference["chat"], 1 - templated),
            (self._reference["templates"], templated),
        ]
        weights = np.concatenate([np.full(len(part), share / len(part)) for part, share in parts])
        reference = np.concatenate([part for part, _ in parts])[weights > 0]
        discrepancy = Discrepancy(self._test, reference, weights[weights > 0])

        def scores(rows: Rows) -> Scores:
            return np.array([[discrepancy(self._place[window])] for window in rows])

        return scores


def times(encoder: Encoder, prompts: list[str]) -> None:
    """Print the CPU time per prompt of features, records and embeddings."""
    chosen = np.random.default_rng(2).choice(len(prompts), 2_000, replace=False)
    sample = [prompts[i] for i in chosen]
    extractor, rows = Extractor(b"1"), np.arange(2_000)[None]
    features = extractor(Texts.of(sample))
    read = _best_time(lambda: extractor(Texts.of(sample)), 20) / len(sample)
    kept = _best_time(lambda: recorded(rows, features), 20) / len(sample)
    embedded = _best_time(lambda: encoder(sample[:300]), 2) / 300
    print("\n| features, µs per prompt | record | MiniLM | ratio |\n|---|---|---|---|")
    times = embedded / (read + kept)
    print(f"| {read * 1e6:.1f} | {kept * 1e6:.1f} | {embedded * 1e6:,.0f} | {times:,.0f} |")


def _best_time(do: Callable[[], object], passes: int) -> float:
    """The best CPU time of the thread over some passes, in seconds."""
    best = float("inf")
    for _ in range(passes):
        begun = time.thread_time()
        do()
        best = min(best, time.thread_time() - begun)
    return best


if __name__ == "__main__":
    typer.run(main)
