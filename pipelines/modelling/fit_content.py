"""Fit a content model: the distribution of ordinary prompts, and classifiers of distillation lists.

Each family of languages has its own centre. Content is whitened: the covariance of ordinary prompts
about their centres becomes the identity, along the 64 principal directions; the others are mostly
noise. Each family has its own scale along each direction. What few prompts say of a family is
shrunk: towards the mean of the other languages, or towards the model that is refined.

Each kind of distillation list has its own classifier (one for all kinds separates worse), a ridge
logistic regression in which the list and the other prompts have equal total weight. It is fitted
by Newton's method, here and not with scikit-learn, whose solvers stop at other digits and would
change the shipped model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.prompts.content_model import (
    CONCEPT_WEIGHT,
    CONTENT_WEIGHT,
    EDGE_WEIGHT,
    LISTS_INPUTS,
    LISTS_WEIGHT,
    Content,
    Floats,
    evidence,
)
from monitor.prompts.extractor import Features
from monitor.prompts.kernel import MEANING, MEANING_LENGTH
from monitor.prompts.projection import CONTENT, LISTS
from monitor.prompts.style import STYLE
from monitor.prompts.vocabulary import CONCEPTS, FAMILIES

MIN_PROMPTS = 200  # per list; ten times as many ordinary ones
_MIN_SPREAD = 0.2  # of a style count, so that rare counts do not dominate
_PENALTY = 2.5e-3  # on half the squared weights, relative to the mean loss per prompt
_STEPS = 8  # of Newton's method
_MOST = 20_000  # ordinary prompts that a classifier is fitted to
_PRIOR = 100.0  # prompts that the other languages count as, for a language with few prompts


class PromptFeatures(NamedTuple):
    """The features of n prompts that a content model is fitted to.

    `(n, width) float64` each, the concepts as 0 or 1, and `(n,) uint8`, the family.
    """

    meaning: Floats
    opening: Floats
    closing: Floats
    style: Floats
    concepts: Floats
    family: npt.NDArray[np.uint8]

    @classmethod
    def concatenate(cls, features: list[Features]) -> PromptFeatures:
        parts = {
            name: np.concatenate([getattr(each, name) for each in features]) for name in cls._fields
        }
        bits = np.arange(len(CONCEPTS), dtype=np.uint64)
        parts["concepts"] = (parts["concepts"][:, None] >> bits) & np.uint64(1)
        family = parts.pop("family")
        return cls(**{name: each.astype(np.float64) for name, each in parts.items()}, family=family)


def fit_content(
    ordinary: PromptFeatures,
    lists: Mapping[str, PromptFeatures],
    previous: Content,
    contrasts: Mapping[str, PromptFeatures] | None = None,
) -> Content:
    """Fit a content model.

    Args:
        ordinary: features of ordinary prompts.
        lists: features of the prompts of each of LISTS; empty to refine the previous model.
        previous: the model to refine. Its centres and its whitening become a mean with what the
            ordinary prompts say. The rest stays: attackers among the traffic must not make the
            lists look ordinary.
        contrasts: by kind of list, features of further prompts that are not from such a list.
    """
    if lists:
        centre = ordinary.style.mean(axis=0)
        spread = np.maximum(ordinary.style.std(axis=0), _MIN_SPREAD)
        previous = Content.none()._replace(centre=centre, spread=spread)
    inputs, family = _inputs(ordinary, previous), ordinary.family
    counts = np.bincount(family, minlength=len(FAMILIES)).astype(np.float64)
    centres = _means_by_family(inputs, family, previous.centres, previous.prompts)
    inputs = inputs - centres[family]
    deviations = _content_part(inputs)
    whitening = _fit_whitening(deviations, previous)
    squares = _means_by_family(
        (deviations @ whitening) ** 2, family, previous.scales**-2.0, previous.prompts
    )
    model = previous._replace(
        prompts=previous.prompts + counts,
        centres=centres,
        whitening=whitening,
        scales=1.0 / np.sqrt(squares),
    )
    if lists:
        fitted, every = [], max(len(inputs) // _MOST, 1)
        for name in LISTS:
            others = [inputs[::every]]
            if contrasts and name in contrasts:
                others.append(_centred(contrasts[name], model))
            fitted.append(_fit_classifier(others, _centred(lists[name], model)))
        directions, offsets = (np.array(part) for part in zip(*fitted, strict=True))
        scores = np.stack([evidence(odds) for odds in (inputs @ directions.T + offsets).T])
        model = model._replace(
            directions=directions,
            offsets=offsets,
            means=scores.mean(axis=2),
            deviations=np.maximum(scores.std(axis=2), 1e-3),
        )
    return model


def _inputs(prompts: PromptFeatures, model: Content) -> Floats:
    """`(n, LISTS_INPUTS)`: meaning, opening, closing, style and concepts."""
    return np.hstack(
        [
            prompts.meaning * (LISTS_WEIGHT / MEANING_LENGTH),
            prompts.opening * (EDGE_WEIGHT / MEANING_LENGTH),
            prompts.closing * (EDGE_WEIGHT / MEANING_LENGTH),
            model.standardised(prompts.style),
            prompts.concepts * CONCEPT_WEIGHT,
        ]
    )


def _centred(prompts: PromptFeatures, model: Content) -> Floats:
    return _inputs(prompts, model) - model.centres[prompts.family]


def _content_part(inputs: Floats) -> Floats:
    """`(n, CONTENT_INPUTS)`: meaning and style."""
    meaning = inputs[:, :MEANING] * (CONTENT_WEIGHT / LISTS_WEIGHT)
    return np.hstack([meaning, inputs[:, 3 * MEANING : 3 * MEANING + len(STYLE)]])


def _means_by_family(
    values: Floats, family: npt.NDArray[np.uint8], before: Floats, weights: Floats
) -> Floats:
    """The mean of each family, `(len(FAMILIES), d)`.

    Args:
        values: `(n, d)`.
        family: `(n,)`.
        before: `(len(FAMILIES), d)`, means of the previous model.
        weights: `(len(FAMILIES),)`, prompts that those count as.
    """
    counts = weights + np.bincount(family, minlength=len(FAMILIES))
    sums = weights[:, None] * before
    np.add.at(sums, family, values)
    known = np.flatnonzero(counts[1:] >= _PRIOR) + 1
    others = known if len(known) else [0]
    prior = np.mean(sums[others] / np.maximum(counts[others, None], 1.0), axis=0)
    means = (sums + _PRIOR * prior) / (counts[:, None] + _PRIOR)
    if counts[0]:
        means[0] = sums[0] / counts[0]
    return np.asarray(means)


def _fit_whitening(x: Floats, previous: Content) -> Floats:
    """The `(d, CONTENT)` map of deviations, `(n, d)`, to uncorrelated unit variances."""
    before = previous.prompts.sum()
    if before:
        y = x @ previous.whitening
        covariance = (before * np.eye(CONTENT) + y.T @ y) / (before + len(y))
        variances, axes = np.linalg.eigh(covariance)
        return np.asarray(previous.whitening @ (axes / np.sqrt(variances)) @ axes.T)
    variances, axes = np.linalg.eigh(x.T @ x / len(x))
    variances, axes = variances[: -CONTENT - 1 : -1], axes[:, : -CONTENT - 1 : -1]
    sign = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(CONTENT)])
    return np.asarray(axes * (sign / np.sqrt(np.maximum(variances, 1e-6))))


def _fit_classifier(others: list[Floats], listed: Floats) -> tuple[Floats, float]:
    """`(LISTS_INPUTS,)` weights and offset of the log odds that a prompt is from the list.

    Each of the other sets of prompts has the same total weight.
    """
    sets = [*others, listed]
    sizes = [len(each) for each in sets]
    x = np.hstack([np.vstack(sets), np.ones((sum(sizes), 1))])
    y = np.repeat([*[0.0] * len(others), 1.0], sizes)
    shares = [*[0.5 / len(others)] * len(others), 0.5]
    sample_weight = np.repeat(np.divide(shares, sizes), sizes)
    penalty = np.append(np.full(LISTS_INPUTS, _PENALTY), 1e-9)
    weights = np.zeros(LISTS_INPUTS + 1)
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (sample_weight * (p - y)) + penalty * weights
        hessian = (x * (sample_weight * p * (1 - p))[:, None]).T @ x
        weights -= np.linalg.solve(hessian + np.diag(penalty), gradient)
    return weights[:-1], float(weights[-1])
