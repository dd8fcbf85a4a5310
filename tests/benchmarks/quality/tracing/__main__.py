"""Tracing: power to find a mark in a trained model, false claims, and what defeats it.

    python -m tests.benchmarks.quality.tracing

A teacher writes responses, a share of them with a mark. A student is trained on all of them and
writes outputs without a mark. Printed are, each with the command's options as they are:

- **power**: the share of samples of a student's outputs in which its mark is claimed among those of
  100 campaigns, by share of marked responses and length of the sample;
- **false claims**: over samples without the mark that is asked for: of the teacher, of students
  that were trained on no mark or on another one, and of the documentation itself;
- **what defeats it**: the same for a student that was trained on marked responses alone after they
  were paraphrased, and for outputs of which 1% are quoted marked responses.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

import numpy as np
import typer

from monitor.tracing.choices import Wordings, load_groups
from monitor.tracing.marks import mark_key
from monitor.tracing.significance import Trials, holm, tail
from monitor.tracing.suspect import Counts, Output, count, token_trials, wording_trials
from monitor.tracing.traces import Shown, Test, Tracer
from monitor.tracing.watermark import SCHEMES, Scheme, Watermark
from pipelines.modelling.results import wilson_interval
from tests.benchmarks.quality.tracing.models import (
    RESPONSE,
    Trigrams,
    Vocabulary,
    corpus,
    joined,
)

SECRET = b"0123456789abcdef0123456789abcdef"
SHARES = (0.01, 0.05, 0.1, 0.5)
REWRITTEN = (0.0, 0.3, 0.6, 1.0)  # shares of the words
SIZES = (1_000, 5_000, 20_000, 50_000)
CAMPAIGNS = 100
LEVEL = 0.01
KINDS = (*SCHEMES, "wordings")
_NOTHING = count([])
_LISTED_SHARE = 0.5
Texts = list[np.ndarray]


class World:
    """The teacher, its ordinary outputs, and the tests.

    Args:
        responses: that a student is trained on.
    """

    def __init__(self, responses: int) -> None:
        groups = load_groups()
        self.wordings = Wordings(groups)
        words = corpus()
        more = [part for group in groups for word in group.words for part in word.split()]
        self.vocabulary = Vocabulary(words, [part.strip(",") for part in more])
        known = self.vocabulary.encode(words)
        self.document = np.array_split(known, len(known) // RESPONSE)
        self.teacher = Trigrams(self.document)
        self.responses = responses
        self.plain = self.teacher.write(responses, 1)
        self.ordinary = count(self.teacher.write(responses, 2))
        self.tracer = Tracer(SECRET, _LISTED_SHARE, self.wordings)

    def marked(self, kind: str, mark: str, number: int, seed: int) -> Texts:
        """Responses of the teacher with a mark."""
        if kind == "wordings":
            key = mark_key(SECRET, mark, "mark wordings")
            texts = map(self.vocabulary.text, self.teacher.write(number, seed))
            return [self.vocabulary.tokens(self.wordings.mark(text, key)) for text in texts]
        return self.teacher.write(number, seed, watermark(kind, mark))

    def student(self, kind: str, mark: str, share: float, seed: int) -> Trigrams:
        """A student that was trained on a share of marked responses."""
        number = round(share * self.responses)
        return Trigrams([*self.marked(kind, mark, number, seed), *self.plain[number:]])

    def tests(self, sample: Texts, mark: str, ordinary: Counts | None) -> list[Test]:
        """All tests of a mark."""
        found = count(sample)
        tokens = {each: token_trials(found, _NOTHING, each, ordinary) for each in SCHEMES}
        outputs = [Output(self.vocabulary.text(text)) for text in sample]
        shown = Shown(tokens, wording_trials(outputs, self.wordings))
        return self.tracer.tests(shown, mark)

    def claims(self, sample: Texts, mark: str, ordinary: Counts | None, asked: int) -> bool:
        """Whether a mark is claimed among those of `asked` campaigns."""
        tests = self.tests(sample, mark, ordinary)
        others = [1.0] * (len(tests) * (asked - 1))
        return min(holm([*(test.p for test in tests), *others])) <= LEVEL


def watermark(scheme: str, mark: str) -> Watermark:
    """The watermark of a scheme."""
    named: Scheme = "fixed" if scheme == "fixed" else "context"
    return Watermark.of(SECRET, mark, named, _LISTED_SHARE)


def new_mark() -> str:
    """A mark that nobody has."""
    return "m_" + secrets.token_hex(10)


def row_of_power(world: World, kind: str, train: Callable[[str, int], Trigrams], marks: int) -> str:
    """The share of claims by length, with and without the ordinary outputs."""
    claims = {(size, known): list[bool]() for size in SIZES for known in (False, True)}
    for seed in range(marks):
        mark = new_mark()
        outputs = train(mark, 10 + seed).write(SIZES[-1] // RESPONSE + 10, 100 + seed)
        for size in SIZES:
            samples = list(joined(outputs, size))[: max(1, min(4, SIZES[-1] // size))]
            for sample, known in ((each, known) for each in samples for known in (False, True)):
                ordinary = world.ordinary if known else None
                claims[size, known].append(world.claims(sample, mark, ordinary, CAMPAIGNS))
    cells = (
        f"{np.mean(claims[size, False]):.0%} / {np.mean(claims[size, True]):.0%}" for size in SIZES
    )
    return " | ".join(cells)


def power(world: World, marks: int) -> None:
    """Print the table of power."""
    print(f"\nPower: claimed among {CAMPAIGNS} campaigns, without / with `--ordinary`\n")
    print("| mark | marked responses | " + " | ".join(f"{n:,} words" for n in SIZES) + " |")
    print("|---|---|" + "---|" * len(SIZES))
    for kind in KINDS:
        for share in SHARES:
            train = partial(world.student, kind, share=share)
            row = row_of_power(world, kind, lambda m, s, t=train: t(mark=m, seed=s), marks)
            print(f"| {kind} | {share:.0%} | {row} |", flush=True)


def defeats(world: World, marks: int) -> None:
    """Print what defeats a mark."""
    print("\nAll responses are marked, and changed before the student is trained\n")
    print("| mark | change | " + " | ".join(f"{n:,} words" for n in SIZES) + " |")
    print("|---|---|" + "---|" * len(SIZES))
    for kind in KINDS:
        for share in REWRITTEN:

            def train(mark: str, seed: int, kind: str = kind, share: float = share) -> Trigrams:
                texts = world.marked(kind, mark, world.responses, seed)
                return Trigrams([world.teacher.rewrite(each, share, seed) for each in texts])

            row = row_of_power(world, kind, train, marks)
            print(f"| {kind} | {share:.0%} of the words rewritten | {row} |", flush=True)


def false_claims(world: World, samples: int) -> None:
    """Print how often marks are claimed that are not there."""
    sources = {
        "documentation": world.document,
        "teacher": world.plain,
        "student without a mark": Trigrams(world.plain).write(world.responses, 3),
    }
    for kind in KINDS:
        student = world.student(kind, new_mark(), 1.0, 4)
        sources[f"student of another mark ({kind})"] = student.write(world.responses, 5)
    random = np.random.default_rng(6)
    p = {(kind, known): list[float]() for kind in KINDS for known in (False, True)}
    claimed = dict.fromkeys(sources, 0)
    names = list(sources)
    for i in range(samples):
        name, known = names[i % len(names)], i // len(names) % 2 == 1
        texts = sources[name]
        picked = random.integers(len(texts), size=int(random.integers(2, 6)))
        tests = world.tests(
            [texts[k] for k in picked], new_mark(), world.ordinary if known else None
        )
        claimed[name] += min(holm([each.p for each in tests]), default=1.0) <= LEVEL
        for test in tests:
            p[test.kind, known].append(test.p)
    total = sum(claimed.values())
    low, high = wilson_interval(total / samples, samples)
    print(
        f"\nFalse claims at {LEVEL:.0%}: {total:,} of {samples:,} samples without the mark, "
        f"{total / samples:.2%} (95%: {low:.2%} to {high:.2%})\n"
    )
    for name, number in claimed.items():
        print(f"- {name}: {number} of {samples // len(names):,}")
    print(
        "\n| test | samples | p ≤ 0.05 | p ≤ 0.01 | p ≤ 0.001 | smallest p |\n" + "|---" * 6 + "|"
    )
    for (kind, known), values in p.items():
        shares = " | ".join(f"{np.mean(np.array(values) <= x):.2%}" for x in (0.05, 0.01, 0.001))
        with_it = ", with ordinary" if known else ""
        print(f"| {kind}{with_it} | {len(values):,} | {shares} | {min(values):.1g} |")


def quoted(world: World) -> None:
    """Print how many outputs show a mark alone: of students, and of who quotes responses."""
    print("\nOutputs that show the mark on their own (p ≤ 1e-6)\n")
    outputs: Sequence[np.ndarray]
    for kind in SCHEMES:
        mark = new_mark()
        rows = {f"student, {share:.0%}": world.student(kind, mark, share, 7) for share in SHARES}
        samples = {name: student.write(330, 8) for name, student in rows.items()}
        samples["quoted, 1% of outputs"] = [*world.marked(kind, mark, 4, 9), *world.plain[:326]]
        for name, outputs in samples.items():
            alone = sum(_shows(each, kind, mark) for each in outputs)
            claims = world.claims(list(outputs), mark, None, CAMPAIGNS)
            print(f"- {kind}, {name}: {alone} of {len(outputs)}; claimed: {claims}")


def _shows(text: np.ndarray, kind: Scheme, mark: str) -> bool:
    trials = token_trials(count([text]), _NOTHING, kind)
    agree = int(watermark(kind, mark).has(trials.previous, trials.tokens).sum())
    return tail([Trials(1, len(trials.tokens), _LISTED_SHARE)], agree) <= 1e-6


def main(
    responses: Annotated[int, typer.Option(help="That a student is trained on.")] = 1_000,
    marks: Annotated[int, typer.Option(help="Per row of power.")] = 2,
    samples: Annotated[int, typer.Option(help="Without the mark.")] = 10_260,
) -> None:
    """Print the tables."""
    world = World(responses)
    bits = world.teacher.entropy(world.plain[:200])
    print(
        f"Teacher: {bits:.2f} bits of choice per word; {responses * RESPONSE:,} words to train on"
    )
    false_claims(world, samples)
    power(world, marks)
    quoted(world)
    defeats(world, marks)


if __name__ == "__main__":
    typer.run(main)
