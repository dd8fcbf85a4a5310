"""A prompt's place among the public, and how like a work list it is: two linear maps.

`content` is where the prompt lies in coordinates in which the prompts of the public have mean zero,
variance one and no correlation. So a key's mean of them is far from zero as soon as its prompts are
chosen differently from the public's, in whatever way: n times its squared length is Hotelling's T²
(Annals of Mathematical Statistics 2, 1931).

`lists` tells, for each known kind of work list and two shares ε, how much likelier the prompt is
if a share ε of the key's prompts is off such a list than if none is, log(1 - ε + ε·exp(l)) for the
log odds l of a linear classifier, clipped, so that no prompt says more than it can know. It is
standardised under the public: the sum over a key's prompts is a test of its own. Where ordinary
prompts hardly vary, that would make a single odd one improbable beyond measure; so none counts
for more than MOST standard deviations, and it takes several to convict.

All sums run in a fixed order, whatever the batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.kernels.bits import jit

CONTENT = 64
SCALE = 16  # of a component of `content`: 1 is the public's standard deviation
LISTS = ("code", "reasoning", "sweep", "cot", "grader")  # kinds of work lists
SHARES = (0.05, 0.3)
CLIP, STEP = 5.0, 32  # log odds at the most; steps to one of them in the table of scores
MOST = 60.0  # standard deviations of a score, for a single prompt
FARTHEST = 3.0  # standard deviations of a count of the shape
WIDTH = CONTENT + 8  # sums: content, then log odds, then nothing


class Projection(NamedTuple):
    """The content model as the kernel wants it.

    Attributes:
        rows: `(MEANING + len(SHAPE), WIDTH) float32`, of the meaning and of the shape.
        edges: `(2 * MEANING, 8) float32`, of the meaning of the opening and of the closing.
        base: `(WIDTH,) float32`, the sums for a prompt without meaning whose counts are all 0.
        centre, scale, absent: `(len(SHAPE),) float32`: how counts are standardised, and what 0 is
            then.
        scores: `(len(LISTS), len(SHARES), 2 * CLIP * STEP + 1) float32`, of `lists`, by log odds.
    """

    rows: npt.NDArray[np.float32]
    edges: npt.NDArray[np.float32]
    base: npt.NDArray[np.float32]
    centre: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    absent: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]


@jit
def standard(x: Any, centre: Any, scale: Any) -> Any:
    """A standardised count."""
    far = np.float32(FARTHEST)
    return min(max((np.float32(x) - centre) * scale, -far), far)


@jit
def _edge(vectors: Any, row: int, edges: Any, begin: int, sums: Any) -> None:
    """Add the log odds that the opening or the closing tells."""
    for j in range(0, vectors.shape[1], 4):
        a, b = np.float32(vectors[row, j]), np.float32(vectors[row, j + 1])
        c, d = np.float32(vectors[row, j + 2]), np.float32(vectors[row, j + 3])
        i = begin + j
        for k in range(8):
            sums[CONTENT + k] += (a * edges[i, k] + b * edges[i + 1, k]) + (
                c * edges[i + 2, k] + d * edges[i + 3, k]
            )


@jit
def project(features: Any, row: int, tables: Any, sums: Any) -> None:
    """Write `content` and `lists` of a prompt whose other features are there."""
    meaning, shape, rows = features.meaning, features.shape, tables.rows
    width = meaning.shape[1]
    for k in range(WIDTH):
        sums[k] = tables.base[k]
    for j in range(0, width, 4):
        a, b = np.float32(meaning[row, j]), np.float32(meaning[row, j + 1])
        c, d = np.float32(meaning[row, j + 2]), np.float32(meaning[row, j + 3])
        for k in range(WIDTH):
            sums[k] += (a * rows[j, k] + b * rows[j + 1, k]) + (
                c * rows[j + 2, k] + d * rows[j + 3, k]
            )
    for j in range(shape.shape[1]):
        if shape[row, j] != 0:
            x = standard(shape[row, j], tables.centre[j], tables.scale[j]) - tables.absent[j]
            for k in range(WIDTH):
                sums[k] += x * rows[width + j, k]
    _edge(features.opening, row, tables.edges, 0, sums)
    _edge(features.closing, row, tables.edges, width, sums)
    for k in range(CONTENT):
        y = min(max(sums[k], np.float32(-127)), np.float32(127))
        features.content[row, k] = np.int8(np.rint(y))
    clip = np.float32(CLIP)
    for k in range(len(LISTS)):
        odds = min(max(sums[CONTENT + k], -clip), clip)
        at = np.int64(np.rint((odds + clip) * np.float32(STEP)))
        for e in range(len(SHARES)):
            features.lists[row, k * len(SHARES) + e] = tables.scores[k, e, at]
