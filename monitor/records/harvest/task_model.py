"""The task model: whether a text states a task by itself, or is data that an application pastes in.

Prompt lists for distillation consist of tasks: instructions, questions, problems. What an
application puts into its frame are documents, messages, records. A linear classifier on meaning,
opening, closing and style tells them apart, whatever they are about. Its log odds are clipped, so
that no single text decides.

A key's harvest level is a sum of few shares of its prompts with fixed weights (`level.py`). Both
are in one file, which `xm learn` does not change.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.errors import ConfigError
from monitor.kernels.jit import jit
from monitor.prompts.extractor import Features
from monitor.prompts.kernel import MEANING, MEANING_LENGTH
from monitor.prompts.style import STYLE

CLIP = 4.0  # nats, of the log odds of one text
MAX_STYLE = 4.0  # standard deviations at which a style feature is clipped
INPUTS = 3 * MEANING + len(STYLE)  # meaning, opening, closing, style
#: What the harvest level is a sum of, after the intercept; the last three count against it.
TRAITS = ("tasks", "unframed", "repeats", "follow_ups", "end_users")

Floats = npt.NDArray[np.float64]
_FILE = "tasks.json"


class TaskModel(NamedTuple):
    """The parameters of the model.

    Attributes:
        centre, spread: `(len(STYLE),) float64`, mean and standard deviation of the style features.
        weights: `(INPUTS,) float64`, of unit vectors and standardised style in the log odds.
        offset: `(1,) float64`, intercept of the log odds.
        traits: `(1 + len(TRAITS),) float64`, intercept and weights of the harvest level.
    """

    centre: Floats
    spread: Floats
    weights: Floats
    offset: Floats
    traits: Floats

    def inputs(self, features: Features) -> Floats:
        """What `weights` apply to, `(n, INPUTS) float64`."""
        vectors = (features.meaning, features.opening, features.closing)
        style = (features.style - self.centre) / self.spread
        return np.hstack(
            [*(each / MEANING_LENGTH for each in vectors), np.clip(style, -MAX_STYLE, MAX_STYLE)]
        )

    def odds(
        self, features: Features, which: npt.NDArray[np.int64] | None = None
    ) -> npt.NDArray[np.float32]:
        """Log odds of n texts to be tasks, `(n,) float32` in nats; the same in any batch.

        Args:
            features: of texts.
            which: `(n,) int64`, their indices; default: all.
        """
        which = np.arange(len(features.meaning)) if which is None else which
        out = np.empty(len(which), np.float32)
        _odds(features, which, self.centre, 1.0 / self.spread, self.weights, self.offset[0], out)
        return out


@jit
def _odds(
    features: Any, which: Any, centre: Any, scale: Any, weights: Any, offset: float, out: Any
) -> None:
    """Write the clipped log odds of n texts, summed in a fixed order.

    Args:
        features: `Features` of texts.
        which: `(n,) int64`, indices of those to judge.
        centre, scale: `(len(STYLE),) float64`, mean and inverse deviation of the style.
        weights: `(INPUTS,) float64`.
        out: `(n,) float32`, the result.
    """
    for k in range(len(which)):
        i = which[k]
        of_vectors, of_style = 0.0, 0.0
        for j in range(MEANING):
            of_vectors += (
                features.meaning[i, j] * weights[j]
                + features.opening[i, j] * weights[MEANING + j]
                + features.closing[i, j] * weights[2 * MEANING + j]
            )
        for j in range(len(centre)):
            style = (features.style[i, j] - centre[j]) * scale[j]
            of_style += min(max(style, -MAX_STYLE), MAX_STYLE) * weights[3 * MEANING + j]
        total = offset + of_vectors / MEANING_LENGTH + of_style
        out[k] = np.float32(min(max(total, -CLIP), CLIP))


def load_tasks(file: Path | None) -> TaskModel:
    """The task model in a file, or the shipped one.

    Raises:
        ConfigError: if the file cannot be used.
    """
    if file is None:
        return shipped_tasks()
    try:
        return read_tasks(file.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"The task model {file} (XM_TASKS) cannot be read: {error.strerror}."
        ) from error


@lru_cache(1)
def shipped_tasks() -> TaskModel:
    """The task model in the package; its file states its sources."""
    return read_tasks(resources.files("monitor.records.harvest").joinpath(_FILE).read_bytes())


def read_tasks(text: bytes) -> TaskModel:
    """Parse a task model that `write_tasks` wrote.

    Raises:
        ConfigError: if it is not a task model of this version.
    """
    try:
        document: dict[str, Any] = msgspec.json.decode(text)
        if (document["style"], document["names"]) != (list(STYLE), list(TRAITS)):
            raise ValueError("it has other features")
        model = TaskModel(*(np.array(document[name], np.float64) for name in TaskModel._fields))
        if len(model.weights) != INPUTS:
            raise ValueError("it has other features")
    except (ValueError, KeyError, TypeError, msgspec.MsgspecError) as error:
        raise ConfigError(
            f"Not a task model of this version ({error}). Use the shipped one: unset XM_TASKS."
        ) from error
    return model


def write_tasks(model: TaskModel, **notes: object) -> bytes:
    """A task model as JSON, with notes on its sources."""
    parts = {name: np.round(part, 5).tolist() for name, part in model._asdict().items()}
    return msgspec.json.encode({**notes, "style": STYLE, "names": TRAITS, **parts}) + b"\n"
