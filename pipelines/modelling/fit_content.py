"""Learning a content model: what is ordinary, and what tells work lists from it.

Content is the public's covariance turned into the identity, along the 64 directions in which its
prompts differ most: along the others there is little but chance. Each kind of work list has a
classifier of its own (one for all kinds together tells less), a logistic regression in which the
public and the list weigh the same whatever their numbers. It is fitted by Newton's method, whose
few steps need no tuning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from monitor.prompts.content_model import BROAD, EDGE, LONG, NARROW, UNIT, Content, Floats, evidence
from monitor.prompts.extractor import Features
from monitor.prompts.projection import CONTENT, LISTS

LEAST = 200  # prompts of a list, and ten times as many ordinary ones
_FLOOR = 0.2  # of a count's spread: what hardly ever occurs shall not outweigh all else
_PENALTY = 2.5e-3  # on squared weights, beside the mean loss of a prompt
_STEPS = 12


class Written(NamedTuple):
    """How n prompts are written: the parts of `Features` that a content model is made from."""

    meaning: Floats
    opening: Floats
    closing: Floats
    shape: Floats

    @classmethod
    def of(cls, features: list[Features]) -> Written:
        parts = ([getattr(each, name) for each in features] for name in cls._fields)
        return cls(*(np.concatenate(part).astype(np.float64) for part in parts))


def fit(baseline: Written, lists: Mapping[str, Written], before: Content) -> Content:
    """A content model.

    Args:
        public: ordinary prompts.
        lists: prompts of work lists, by each of LISTS; or none at all, and directions stay.
        before: the model whose directions stay, with the counts' scale that belongs to them.
    """
    if lists:
        centre = baseline.shape.mean(axis=0)
        spread = np.maximum(baseline.shape.std(axis=0), _FLOOR)
        before = before._replace(centre=centre, spread=spread)
    origin, whitening = _whitened(_broad(baseline, before))
    model = before._replace(origin=origin, whitening=whitening)
    ordinary = _narrow(baseline, model)
    if lists:
        fitted = [_classifier(ordinary, _narrow(lists[name], model)) for name in LISTS]
        directions, offsets = (np.array(part) for part in zip(*fitted, strict=True))
        model = model._replace(directions=directions, offsets=offsets)
    told = [evidence(odds) for odds in (ordinary @ model.directions.T + model.offsets).T]
    return model._replace(
        means=np.array([each.mean(axis=1) for each in told]),
        deviations=np.array([np.maximum(each.std(axis=1), 1e-3) for each in told]),
    )


def _broad(prompts: Written, model: Content) -> Floats:
    return np.hstack([prompts.meaning * (BROAD / UNIT), model.standardised(prompts.shape)])


def _narrow(prompts: Written, model: Content) -> Floats:
    meaning, opening, closing, shape = prompts
    edges = [opening * (EDGE / UNIT), closing * (EDGE / UNIT)]
    return np.hstack([meaning * (NARROW / UNIT), *edges, model.standardised(shape)])


def _whitened(x: Floats) -> tuple[Floats, Floats]:
    """The mean of x, and the map that makes the rest of it uncorrelated with variance one."""
    origin = x.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(x.T, bias=True))
    variances, axes = variances[: -CONTENT - 1 : -1], axes[:, : -CONTENT - 1 : -1]
    sign = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(CONTENT)])
    return origin, axes * (sign / np.sqrt(np.maximum(variances, 1e-6)))


def _classifier(ordinary: Floats, listed: Floats) -> tuple[Floats, float]:
    """Weights and offset of the log odds that a prompt is off the list."""
    x = np.hstack([np.vstack([ordinary, listed]), np.ones((len(ordinary) + len(listed), 1))])
    y = np.repeat([0.0, 1.0], [len(ordinary), len(listed)])
    weight = np.repeat([0.5 / len(ordinary), 0.5 / len(listed)], [len(ordinary), len(listed)])
    penalty = np.append(np.full(LONG, _PENALTY), 1e-9)
    found = np.zeros(LONG + 1)
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ found, -30, 30)))
        slope = x.T @ (weight * (p - y)) + penalty * found
        curve = (x * (weight * p * (1 - p))[:, None]).T @ x
        found -= np.linalg.solve(curve + np.diag(penalty), slope)
    return found[:-1], float(found[-1])
