"""Fit a content model: the distribution of ordinary prompts, and classifiers of distillation lists.

Content is whitened: the covariance of ordinary prompts becomes the identity, along the 64 principal
directions; the others are mostly noise. Each kind of distillation list has its own classifier (one
for all kinds separates worse), a ridge logistic regression in which the ordinary prompts and the
list have equal total weight. It is fitted by Newton's method, here and not with scikit-learn, whose
solvers stop at other digits and would change the shipped model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from monitor.prompts.content_model import (
    CONTENT_WEIGHT,
    EDGE_WEIGHT,
    LISTS_INPUTS,
    LISTS_WEIGHT,
    Content,
    Floats,
    evidence,
)
from monitor.prompts.extractor import Features
from monitor.prompts.kernel import MEANING_LENGTH
from monitor.prompts.projection import CONTENT, LISTS

MIN_PROMPTS = 200  # per list; ten times as many ordinary ones
_MIN_SPREAD = 0.2  # of a style count, so that rare counts do not dominate
_PENALTY = 2.5e-3  # on half the squared weights, relative to the mean loss per prompt
_STEPS = 12  # of Newton's method


class PromptFeatures(NamedTuple):
    """The features of n prompts that a content model is fitted to, `(n, width) float64` each."""

    meaning: Floats
    opening: Floats
    closing: Floats
    style: Floats

    @classmethod
    def concatenate(cls, features: list[Features]) -> PromptFeatures:
        parts = ([getattr(each, name) for each in features] for name in cls._fields)
        return cls(*(np.concatenate(part).astype(np.float64) for part in parts))


def fit_content(
    ordinary: PromptFeatures, lists: Mapping[str, PromptFeatures], previous: Content
) -> Content:
    """Fit a content model.

    Args:
        ordinary: features of ordinary prompts.
        lists: features of the prompts of each of LISTS; empty to keep the previous classifiers.
        previous: the model whose classifiers, and the scale of style counts that they need, stay.
    """
    if lists:
        centre = ordinary.style.mean(axis=0)
        spread = np.maximum(ordinary.style.std(axis=0), _MIN_SPREAD)
        previous = previous._replace(centre=centre, spread=spread)
    origin, whitening = _fit_whitening(_content_inputs(ordinary, previous))
    model = previous._replace(origin=origin, whitening=whitening)
    inputs = _classifier_inputs(ordinary, model)
    if lists:
        fitted = [_fit_classifier(inputs, _classifier_inputs(lists[name], model)) for name in LISTS]
        directions, offsets = (np.array(part) for part in zip(*fitted, strict=True))
        model = model._replace(directions=directions, offsets=offsets)
    scores = [evidence(odds) for odds in (inputs @ model.directions.T + model.offsets).T]
    return model._replace(
        means=np.array([each.mean(axis=1) for each in scores]),
        deviations=np.array([np.maximum(each.std(axis=1), 1e-3) for each in scores]),
    )


def _content_inputs(prompts: PromptFeatures, model: Content) -> Floats:
    """`(n, CONTENT_INPUTS)`: meaning and style."""
    meaning = prompts.meaning * (CONTENT_WEIGHT / MEANING_LENGTH)
    return np.hstack([meaning, model.standardised(prompts.style)])


def _classifier_inputs(prompts: PromptFeatures, model: Content) -> Floats:
    """`(n, LISTS_INPUTS)`: meaning, opening, closing and style."""
    meaning, opening, closing, style = prompts
    edges = [
        opening * (EDGE_WEIGHT / MEANING_LENGTH),
        closing * (EDGE_WEIGHT / MEANING_LENGTH),
    ]
    return np.hstack([meaning * (LISTS_WEIGHT / MEANING_LENGTH), *edges, model.standardised(style)])


def _fit_whitening(x: Floats) -> tuple[Floats, Floats]:
    """The mean of `(n, d)` rows, and the `(d, CONTENT)` map to uncorrelated unit variances."""
    origin = x.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(x.T, bias=True))
    variances, axes = variances[: -CONTENT - 1 : -1], axes[:, : -CONTENT - 1 : -1]
    sign = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(CONTENT)])
    return origin, axes * (sign / np.sqrt(np.maximum(variances, 1e-6)))


def _fit_classifier(ordinary: Floats, listed: Floats) -> tuple[Floats, float]:
    """`(LISTS_INPUTS,)` weights and offset of the log odds that a prompt is from the list."""
    sizes = [len(ordinary), len(listed)]
    x = np.hstack([np.vstack([ordinary, listed]), np.ones((sum(sizes), 1))])
    y = np.repeat([0.0, 1.0], sizes)
    sample_weight = np.repeat([0.5 / size for size in sizes], sizes)
    penalty = np.append(np.full(LISTS_INPUTS, _PENALTY), 1e-9)
    weights = np.zeros(LISTS_INPUTS + 1)
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (sample_weight * (p - y)) + penalty * weights
        hessian = (x * (sample_weight * p * (1 - p))[:, None]).T @ x
        weights -= np.linalg.solve(hessian + np.diag(penalty), gradient)
    return weights[:-1], float(weights[-1])
