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
PROMPTS = 8  # that are processed at once


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
def _add_rows(
    vectors: Any, first: int, last: int, rows: Any, begin: int, at: int, sums: Any
) -> None:
    """Add vectors times weights to the sums of the prompts `first` to `last`.

    Args:
        vectors: `(n, MEANING) int8`, meanings.
        rows: `(size, d) float32`, weights; `begin`: first row of those to use.
        sums: `(PROMPTS, SUM_COLUMNS) float32`, updated in place from the column `at`.
    """
    for j in range(0, vectors.shape[1], 4):
        i = begin + j
        w, x, y, z = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
        for row in range(first, last):
            a, b = np.float32(vectors[row, j]), np.float32(vectors[row, j + 1])
            c, d = np.float32(vectors[row, j + 2]), np.float32(vectors[row, j + 3])
            out = sums[row - first, at:]
            for k in range(rows.shape[1]):
                out[k] += (a * w[k] + b * x[k]) + (c * y[k] + d * z[k])


@inner
def _add_style(style: Any, tables: Any, begin: int, present: Any, sums: Any) -> None:
    """Add the style of one prompt to its sums.

    Args:
        style: `(len(STYLE),) float32`.
        tables: `Projection`; `begin`: row of its weights.
        present: `(len(STYLE),) int64`, scratch.
        sums: `(SUM_COLUMNS,) float32`, updated in place.
    """
    count = 0
    for j in range(len(style)):
        present[count] = j
        count += style[j] != 0
    for i in range(count):
        j = present[i]
        x = standardise(style[j], tables.centre[j], tables.scale[j]) - tables.absent[j]
        weights = tables.rows[begin + j]
        for k in range(SUM_COLUMNS):
            sums[k] += x * weights[k]


@inner
def project(features: Any, first: int, last: int, tables: Any, present: Any, sums: Any) -> None:
    """Write `content` and `lists` of the prompts `first` to `last`, from their other features.

    Several prompts at once, because the weights do not fit into the processor's nearest cache.

    Args:
        features: `Features` of n prompts; `last - first` of them, at most PROMPTS, are processed.
        tables: `Projection`.
        present: `(len(STYLE),) int64`, scratch.
        sums: `(PROMPTS, SUM_COLUMNS) float32`, scratch.
    """
    width = features.meaning.shape[1]
    for i in range(last - first):
        for k in range(SUM_COLUMNS):
            sums[i, k] = tables.base[k]
    _add_rows(features.meaning, first, last, tables.rows, 0, 0, sums)
    for row in range(first, last):
        _add_style(features.style[row], tables, width, present, sums[row - first])
    _add_rows(features.opening, first, last, tables.edges, 0, CONTENT, sums)
    _add_rows(features.closing, first, last, tables.edges, width, CONTENT, sums)
    for row in range(first, last):
        _finish(features, row, tables, sums[row - first])


@inner
def _finish(features: Any, row: int, tables: Any, sums: Any) -> None:
    """Add the concepts of a prompt to its sums, and write its `content` and `lists`.

    Args:
        features: `Features` of n prompts; `row`: the prompt's row.
        tables: `Projection`.
        sums: `(SUM_COLUMNS,) float32`.
    """
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
