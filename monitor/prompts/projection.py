"""Two linear maps of a prompt: its position relative to the baseline, and its similarity to lists.

`content` is the prompt in coordinates in which baseline prompts of its language have mean zero,
variance one and no correlation. A key's mean is far from zero if its prompts are chosen differently
from the baseline's in any way: n times its squared length is Hotelling's T².

`lists` is, for each known kind of distillation prompt list and each share ε, the log-likelihood
ratio log(1 - ε + ε·exp(l)) in nats of "a share ε of the key's prompts comes from such a list" to
"none does". l is the log odds of a linear classifier, clipped to ±CLIP. The score is standardised
under the baseline, so its sum over a key's prompts is a test statistic. A single prompt contributes
at most MAX_SCORE standard deviations, so one odd prompt cannot flag a key.

All sums run in a fixed order, whatever the batch.

Source: H. Hotelling, "The generalization of Student's ratio", Annals of Mathematical Statistics 2
(1931).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.kernels.bits import U, inner

CONTENT = 64
SCALE = 16  # of `content`: this many units are one standard deviation of the baseline
LISTS = ("code", "reasoning", "sweep", "cot", "grader", "tools")  # kinds of prompt lists
SHARES = (0.05, 0.3)
CLIP, STEP = 5.0, 32  # largest log odds in nats; steps per nat in the table of scores
MAX_SCORE = 60.0  # standard deviations that the score of one prompt can reach
MAX_STYLE = 3.0  # standard deviations at which a style feature is clipped
SUM_COLUMNS = CONTENT + 8  # columns of the sums: content, log odds, padding


class Projection(NamedTuple):
    """The content model in the form that the kernel reads.

    Attributes:
        rows: `(MEANING + len(STYLE), SUM_COLUMNS) float32`, weights of meaning and style.
        edges: `(2 * MEANING, 8) float32`, weights of the opening's and the closing's meaning.
        concepts: `(len(CONCEPTS), 8) float32`, weights of the concepts.
        base: `(SUM_COLUMNS,) float32`, the sums of a prompt without meaning whose style is all 0,
            before the centre of its family is subtracted.
        centre, scale: `(len(STYLE),) float32`, mean and inverse standard deviation of the style.
        absent: `(len(STYLE),) float32`, a standardised 0.
        centres: `(len(FAMILIES), SUM_COLUMNS) float32`, the sums of a family's mean prompt.
        scales: `(len(FAMILIES), CONTENT) float32`, factors on the content of a family.
        scores: `(len(LISTS), len(SHARES), 2 * CLIP * STEP + 1) float32`, standardised score by
            log odds.
    """

    rows: npt.NDArray[np.float32]
    edges: npt.NDArray[np.float32]
    concepts: npt.NDArray[np.float32]
    base: npt.NDArray[np.float32]
    centre: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    absent: npt.NDArray[np.float32]
    centres: npt.NDArray[np.float32]
    scales: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]


@inner
def standardise(x: Any, centre: Any, scale: Any) -> Any:
    """A style feature in standard deviations, clipped; all are float32."""
    far = np.float32(MAX_STYLE)
    return min(max((np.float32(x) - centre) * scale, -far), far)


@inner
def _edge(vectors: Any, row: int, edges: Any, begin: int, sums: Any) -> None:
    """Add the log odds of the opening or the closing.

    Args:
        vectors: `(n, MEANING) int8`, meanings; `row`: the prompt's row.
        edges: `(2 * MEANING, 8) float32`, weights; `begin`: first row of those to use.
        sums: `(SUM_COLUMNS,) float32`, updated in place.
    """
    for j in range(0, vectors.shape[1], 4):
        a, b = np.float32(vectors[row, j]), np.float32(vectors[row, j + 1])
        c, d = np.float32(vectors[row, j + 2]), np.float32(vectors[row, j + 3])
        i = begin + j
        for k in range(8):
            sums[CONTENT + k] += (a * edges[i, k] + b * edges[i + 1, k]) + (
                c * edges[i + 2, k] + d * edges[i + 3, k]
            )


@inner
def project(features: Any, row: int, tables: Any, sums: Any) -> None:
    """Write `content` and `lists` of a prompt, from its other features.

    Args:
        features: `Features` of n prompts; `row`: the prompt's row.
        tables: `Projection`.
        sums: `(SUM_COLUMNS,) float32`, scratch.
    """
    meaning, style, rows = features.meaning, features.style, tables.rows
    width = meaning.shape[1]
    for k in range(SUM_COLUMNS):
        sums[k] = tables.base[k]
    for j in range(0, width, 4):
        a, b = np.float32(meaning[row, j]), np.float32(meaning[row, j + 1])
        c, d = np.float32(meaning[row, j + 2]), np.float32(meaning[row, j + 3])
        for k in range(SUM_COLUMNS):
            sums[k] += (a * rows[j, k] + b * rows[j + 1, k]) + (
                c * rows[j + 2, k] + d * rows[j + 3, k]
            )
    for j in range(style.shape[1]):
        if style[row, j] != 0:
            x = standardise(style[row, j], tables.centre[j], tables.scale[j]) - tables.absent[j]
            for k in range(SUM_COLUMNS):
                sums[k] += x * rows[width + j, k]
    _edge(features.opening, row, tables.edges, 0, sums)
    _edge(features.closing, row, tables.edges, width, sums)
    for j in range(len(tables.concepts)):
        if (features.concepts[row] >> U(j)) & U(1):
            for k in range(8):
                sums[CONTENT + k] += tables.concepts[j, k]
    family = features.family[row]
    centre, factors = tables.centres[family], tables.scales[family]
    for k in range(CONTENT):
        y = (sums[k] - centre[k]) * factors[k]
        y = min(max(y, np.float32(-127)), np.float32(127))
        features.content[row, k] = np.int8(np.rint(y))
    clip = np.float32(CLIP)
    for k in range(len(LISTS)):
        odds = min(max(sums[CONTENT + k] - centre[CONTENT + k], -clip), clip)
        at = np.int64(np.rint((odds + clip) * np.float32(STEP)))
        for e in range(len(SHARES)):
            features.lists[row, k * len(SHARES) + e] = tables.scores[k, e, at]
