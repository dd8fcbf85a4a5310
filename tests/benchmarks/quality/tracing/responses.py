"""Responses seen: power to recognise them in a student's outputs, and false claims.

    python -m tests.benchmarks.quality.tracing.responses

A campaign and other keys get responses of the same teacher; both are sketched. A student is trained
on some of the campaign's responses and on others that nobody sketched. Printed are:

- **power**: how often the campaign is claimed, by share of its responses in the training data and
  length of the outputs. The first student is a trigram model, which has only what three words in a
  row reveal. The second repeats whole passages of its training data with the given probability per
  output, as large models do with text that they have seen often;
- **false claims**: over samples of text that has nothing to do with the campaign, with the
  sketches dealt at random to the campaign and to the other keys.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import typer

from monitor.tracing.responses.overlap import fisher, overlap
from monitor.tracing.responses.sketch import Sketch, Sketcher
from pipelines.modelling.results import wilson_interval
from tests.benchmarks.quality.tracing.models import (
    RESPONSE,
    Trigrams,
    Vocabulary,
    corpus,
    joined,
)

SHARES = (0.01, 0.05, 0.1, 0.5, 1.0)
SIZES = (1_000, 5_000, 20_000, 50_000)
PASSAGE = 40  # words
LEVEL = 0.01
Texts = list[np.ndarray]


class World:
    """The teacher and its responses.

    Args:
        responses: to the campaign, to other keys, and to nobody that is sketched.
    """

    def __init__(self, responses: int) -> None:
        words = corpus()
        self.vocabulary = Vocabulary(words)
        known = self.vocabulary.encode(words)
        self.document = np.array_split(known, len(known) // RESPONSE)
        self.sketcher = Sketcher(b"0123456789abcdef")
        written = Trigrams(self.document).write(3 * responses, 1)
        self.given, self.others, self.unseen = (
            written[i * responses : (i + 1) * responses] for i in range(3)
        )
        self.sketches = self.sketched(self.given), self.sketched(self.others)

    def sketched(self, texts: Texts) -> list[Sketch]:
        """The sketches of texts that are long enough."""
        found = (self.sketcher.sketch(self.vocabulary.text(text)) for text in texts)
        return [each for each in found if each is not None]

    def said(self, texts: Texts) -> np.ndarray:
        """The hashes of all runs of words in outputs."""
        return self.sketcher.runs("\n".join(map(self.vocabulary.text, texts)))

    def training(self, share: float) -> Texts:
        """Texts for a student, a share of them from the campaign."""
        number = round(share * len(self.given))
        return [*self.given[:number], *self.unseen[number:]]


def repeating(outputs: Texts, training: Texts, share: float, seed: int) -> Texts:
    """Outputs of which a share contains a passage of the training data."""
    random = np.random.default_rng(seed)
    found = []
    for output in outputs:
        text = output
        if random.random() < share:
            source = training[random.integers(len(training))]
            start = random.integers(max(len(source) - PASSAGE, 1))
            text = np.concatenate([output, source[start : start + PASSAGE]])
        found.append(text)
    return found


def power(world: World, share: float, repeats: float, students: int) -> dict[int, list[bool]]:
    """Whether the campaign is claimed, by length of the outputs."""
    claims: dict[int, list[bool]] = {size: [] for size in SIZES}
    training = world.training(share)
    student = Trigrams(training)
    for seed in range(students):
        outputs = student.write(SIZES[-1] // RESPONSE + 10, 100 + seed)
        outputs = repeating(outputs, training, repeats, seed)
        for size in SIZES:
            sample = next(iter(joined(outputs, size)))
            claims[size].append(overlap(world.said(sample), *world.sketches).p <= LEVEL)
    return claims


def false_claims(world: World, samples: int) -> tuple[int, int]:
    """Claims, and distinct texts: of the documentation, with sketches dealt at random."""
    random = np.random.default_rng(7)
    own, others = (len(each) for each in world.sketches)
    hashes = [each.hashes for both in world.sketches for each in both]
    of = np.repeat(np.arange(own + others), [len(each) for each in hashes])
    together = np.concatenate(hashes)
    texts = [world.said(sample) for sample in joined(world.document, SIZES[1])]
    claims = 0
    for i in range(samples):
        hit = np.bincount(of[np.isin(together, texts[i % len(texts)])], minlength=own + others) > 0
        dealt = random.permutation(own + others) < own
        claims += fisher(own, int(hit[dealt].sum()), others, int(hit[~dealt].sum())) <= LEVEL
    return claims, len(texts)


def main(
    responses: Annotated[int, typer.Option(help="To the campaign.")] = 1_000,
    students: Annotated[int, typer.Option(help="Samples per cell.")] = 5,
    samples: Annotated[int, typer.Option(help="Without the campaign.")] = 10_000,
) -> None:
    """Print all tables."""
    world = World(responses)
    sizes = " | ".join(f"{size:,} words" for size in SIZES)
    typer.echo(f"| share of training | outputs with a passage | {sizes} |\n|{'---|' * 6}")
    for repeats in (0.0, 0.01, 0.1):
        for share in SHARES:
            claims = power(world, share, repeats, students)
            cells = " | ".join(f"{np.mean(each):.0%}" for each in claims.values())
            typer.echo(f"| {share:.0%} | {repeats:.0%} | {cells} |")
    wrong, texts = false_claims(world, samples)
    low, high = wilson_interval(wrong / samples, samples)
    typer.echo(
        f"\n{wrong} false claims in {samples:,} samples of {SIZES[1]:,} words ({texts:,} texts) at "
        f"a level of {LEVEL:.0%}: {wrong / samples:.2%}, 95% interval {low:.2%} to {high:.2%}."
    )


if __name__ == "__main__":
    typer.run(main)
