"""Fit the task model: which texts state a task.

The classifier is fitted to prompt lists and to what applications send, from as many sources as
there are, which count alike. Of each source the frame is cut first, as in the stream, so that the
classifier learns what varies and not how it is wrapped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from monitor.identity import Identity
from monitor.kernels.buffers import Prompts
from monitor.prompts.extractor import Extractor
from monitor.prompts.normalise import Normaliser
from monitor.records.admission import READ
from monitor.records.harvest.frames import varying
from monitor.records.harvest.task_model import INPUTS, TaskModel
from monitor.records.profile import blank
from monitor.requests.marks import FIRST_TURN, HAS_PROMPT
from monitor.requests.parts import Parts
from monitor.requests.turns import USER, Part

#: Intercept, and weights of TRAITS. They are not fitted: chosen so that only keys with most of the
#: traits reach what no ordinary key does. End users count little, because clients name them.
TRAIT_WEIGHTS = (0.0, 3.0, 6.0, 4.0, 10.0, 1.5)
RIDGE = 3e-3  # of standardised weights, relative to the number of texts
_ROUNDS = 8  # of Newton's method
_SECRET = b"0123456789abcdef"  # features do not depend on it, up to hash collisions

Floats = npt.NDArray[np.float64]


def fit_tasks(tasks: Mapping[str, Sequence[str]], data: Mapping[str, Sequence[str]]) -> TaskModel:
    """A task model.

    Args:
        tasks: prompts of prompt lists, by source.
        data: prompts of applications, by source. Sources whose names have the same first part, up
            to a hyphen, count as one.
    """
    identity = Identity(_SECRET)
    secret = identity.derive("prompts", 32)
    normalise, extract = Normaliser(secret), Extractor(secret)
    groups: dict[tuple[str, bool], int] = {}
    features, of_group = [], []
    for sources, is_task in ((tasks, True), (data, False)):
        for name, prompts in sources.items():
            texts = _without_frame(prompts)
            features.append(extract(normalise(texts)))
            group = groups.setdefault((name.split("-")[0], is_task), len(groups))
            of_group += [group] * len(texts.places)
    style = np.vstack([each.style for each in features]).astype(np.float64)
    model = TaskModel(
        style.mean(axis=0),
        np.maximum(style.std(axis=0), 1e-3),
        np.zeros(INPUTS),
        np.zeros(1),
        np.array(TRAIT_WEIGHTS),
    )
    inputs = np.vstack([model.inputs(each) for each in features])
    groups_of_texts = np.array(of_group)
    labels = np.array([is_task for _, is_task in groups], float)[groups_of_texts]
    weight = 1.0 / np.bincount(groups_of_texts)[groups_of_texts]
    for label in (0.0, 1.0):
        weight[labels == label] *= 0.5 * len(labels) / weight[labels == label].sum()
    weights, offset = _logistic(inputs, labels, weight)
    return model._replace(weights=weights, offset=np.array([offset]))


def _without_frame(prompts: Sequence[str]) -> Prompts:
    """What varies in the prompts of a source, as if one key had sent them."""
    n, records = len(prompts), np.array([blank()])
    texts = Prompts.of(prompts)
    parts = Parts.of([[Part(USER, prompt)] for prompt in prompts])
    rows, read = np.zeros(n, np.int64), np.full(n, READ, np.uint8)
    marks = np.full(n, HAS_PROMPT | FIRST_TURN, np.uint16)
    judged = np.ones(n, np.bool_)
    return varying(records, rows, read, marks, parts, judged, texts, np.uint64(1)).prompts


def _logistic(inputs: Floats, labels: Floats, weight: Floats) -> tuple[Floats, float]:
    """Weights and intercept of a logistic regression with a ridge on standardised inputs.

    Args:
        inputs: `(n, d) float64`; labels: `(n,)`, 0 or 1; weight: `(n,)`, of each row.
    """
    mean, spread = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-3)
    x = np.hstack([(inputs - mean) / spread, np.ones((len(inputs), 1))])
    ridge = np.append(np.full(inputs.shape[1], RIDGE * len(x)), 1e-9)
    b = np.zeros(x.shape[1])
    for _ in range(_ROUNDS):
        p = 1.0 / (1.0 + np.exp(-(x @ b)))
        curvature = (x * (weight * p * (1.0 - p) + 1e-9)[:, None]).T @ x + np.diag(ridge)
        b -= np.linalg.solve(curvature, x.T @ (weight * (p - labels)) + ridge * b)
    weights = b[:-1] / spread
    return weights, float(b[-1] - weights @ mean)
