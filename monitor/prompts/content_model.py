"""The content model: statistics of baseline prompts and of distillation prompt lists; no prompts.

Each family of languages has a centre of its own, from which its prompts are measured. So a chat in
Chinese is as ordinary as one in English, and the directions of the lists hold for all languages.

The shipped model is learned from public data sets. `xm learn` fits one to a deployment's own
ordinary traffic. `projection.py` explains the features that it gives.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.errors import ConfigError
from monitor.kernels.bits import aligned
from monitor.prompts.kernel import MEANING, MEANING_LENGTH
from monitor.prompts.projection import (
    CLIP,
    CONTENT,
    LISTS,
    MAX_SCORE,
    MAX_STYLE,
    SCALE,
    SHARES,
    STEP,
    SUM_COLUMNS,
    Projection,
)
from monitor.prompts.style import STYLE
from monitor.prompts.vocabulary import CONCEPTS, FAMILIES

# Weights relative to the style: of the meaning in content and in lists, of opening and closing, of
# the concepts.
CONTENT_WEIGHT, LISTS_WEIGHT, EDGE_WEIGHT, CONCEPT_WEIGHT = 4.0, 8.0, 4.0, 2.0
CONTENT_INPUTS, LISTS_INPUTS = MEANING + len(STYLE), 3 * MEANING + len(STYLE) + len(CONCEPTS)
_STYLE = slice(3 * MEANING, 3 * MEANING + len(STYLE))  # of the inputs of lists
_ODDS = np.arange(-CLIP * STEP, CLIP * STEP + 1) / STEP  # log odds of the table of scores, nats

Floats = npt.NDArray[np.float64]
_FILE = "content.json"
_FEATURES = {"shape": STYLE, "lists": LISTS, "families": FAMILIES, "concepts": CONCEPTS}


class Content(NamedTuple):
    """The parameters of the model.

    Attributes:
        centre, spread: `(len(STYLE),) float64`, mean and standard deviation of the style features
            in the baseline.
        prompts: `(len(FAMILIES),) float64`, baseline prompts of each family.
        centres: `(len(FAMILIES), LISTS_INPUTS) float64`, their mean of [LISTS_WEIGHT·meaning,
            EDGE_WEIGHT·opening, EDGE_WEIGHT·closing, standardised style, CONCEPT_WEIGHT·concepts].
        whitening: `(CONTENT_INPUTS, CONTENT) float64`, from deviations of [CONTENT_WEIGHT·meaning,
            standardised style] to content.
        scales: `(len(FAMILIES), CONTENT) float64`, factors on the content of each family.
        directions: `(len(LISTS), LISTS_INPUTS) float64`, weights of deviations in the log odds of
            each list.
        offsets: `(len(LISTS),) float64`, intercepts of the log odds.
        means, deviations: `(len(LISTS), len(SHARES)) float64`, of the scores in the baseline.
    """

    centre: Floats
    spread: Floats
    prompts: Floats
    centres: Floats
    whitening: Floats
    scales: Floats
    directions: Floats
    offsets: Floats
    means: Floats
    deviations: Floats

    @classmethod
    def none(cls) -> Content:
        """A model to which all prompts are ordinary."""
        count, lists, families = len(STYLE), len(LISTS), len(FAMILIES)
        return cls(
            np.zeros(count),
            np.ones(count),
            np.zeros(families),
            np.zeros((families, LISTS_INPUTS)),
            np.zeros((CONTENT_INPUTS, CONTENT)),
            np.ones((families, CONTENT)),
            np.zeros((lists, LISTS_INPUTS)),
            np.zeros(lists),
            np.zeros((lists, len(SHARES))),
            np.ones((lists, len(SHARES))),
        )

    @property
    def tag(self) -> int:
        """Sixteen bits that identify the model, never 0."""
        digest = hashlib.blake2b(digest_size=2)
        for part in self:
            digest.update(part.astype("<f8").tobytes())
        return int.from_bytes(digest.digest(), "little") or 1

    def standardised(self, style: npt.NDArray[np.floating[Any]]) -> Floats:
        """Style features, `(n, len(STYLE))`, as the kernel standardises them."""
        centred: Floats = (style - self.centre) / self.spread
        return np.clip(centred, -MAX_STYLE, MAX_STYLE)

    @property
    def content_centres(self) -> Floats:
        """The centres of [CONTENT_WEIGHT·meaning, style], `(len(FAMILIES), CONTENT_INPUTS)`."""
        meaning = self.centres[:, :MEANING] * (CONTENT_WEIGHT / LISTS_WEIGHT)
        return np.hstack([meaning, self.centres[:, _STYLE]])

    @property
    def projection(self) -> Projection:
        """The model in the form that the kernel reads."""
        rows = aligned((CONTENT_INPUTS, SUM_COLUMNS), np.float32)
        edges = aligned((2 * MEANING, 8), np.float32)
        concepts = aligned((len(CONCEPTS), 8), np.float32)
        count, lists = CONTENT, slice(CONTENT, CONTENT + len(LISTS))
        of_edges = slice(MEANING, 3 * MEANING)
        rows[:, :count] = SCALE * self.whitening
        rows[:MEANING, :count] *= CONTENT_WEIGHT / MEANING_LENGTH
        rows[:MEANING, lists] = self.directions[:, :MEANING].T * (LISTS_WEIGHT / MEANING_LENGTH)
        rows[MEANING:, lists] = self.directions[:, _STYLE].T
        concepts[:, : len(LISTS)] = CONCEPT_WEIGHT * self.directions[:, _STYLE.stop :].T
        edges[:, : len(LISTS)] = self.directions[:, of_edges].T * (EDGE_WEIGHT / MEANING_LENGTH)
        absent = self.standardised(np.zeros((1, len(STYLE)), np.float32))[0]
        base = np.zeros(SUM_COLUMNS)
        base[:count] = SCALE * (absent @ self.whitening[MEANING:])
        base[lists] = self.offsets + self.directions[:, _STYLE] @ absent
        centres = np.zeros((len(FAMILIES), SUM_COLUMNS))
        centres[:, :count] = SCALE * (self.content_centres @ self.whitening)
        centres[:, lists] = self.centres @ self.directions.T
        scores = (evidence(_ODDS) - self.means[..., None]) / self.deviations[..., None]
        return Projection(
            rows,
            edges,
            concepts,
            base.astype(np.float32),
            self.centre.astype(np.float32),
            (1.0 / self.spread).astype(np.float32),
            absent.astype(np.float32),
            centres.astype(np.float32),
            self.scales.astype(np.float32),
            np.minimum(scores, MAX_SCORE).astype(np.float32),
        )


def evidence(odds: Floats) -> Floats:
    """The log-likelihood ratio in nats for each share, `(len(SHARES), n) float64`.

    Args:
        odds: `(n,) float64`, log odds in nats.
    """
    shares = np.array(SHARES)[:, None]
    ratios: Floats = np.log1p(shares * np.expm1(np.clip(odds, -CLIP, CLIP)))
    return ratios


def load_content(file: Path | None) -> Content:
    """The content model in a file, or the shipped one.

    Raises:
        ConfigError: if the file cannot be used.
    """
    if file is None:
        return shipped_content()
    try:
        return read_content(file.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"The content model {file} (XM_CONTENT) cannot be read: {error.strerror}."
        ) from error


@lru_cache(1)
def shipped_content() -> Content:
    """The content model in the package; its file states its sources."""
    return read_content(resources.files("monitor.prompts").joinpath(_FILE).read_bytes())


def read_content(text: bytes) -> Content:
    """Parse a content model that `xm learn` wrote.

    Raises:
        ConfigError: if it is not a content model of this version.
    """
    try:
        document: dict[str, Any] = msgspec.json.decode(text)
        features = [document.get(name) for name in _FEATURES]
        if features != [list(each) for each in _FEATURES.values()]:
            raise ValueError("it has other features")
        parts = [np.array(document[name], np.float64) for name in Content._fields]
        shapes = [part.shape for part in Content.none()]
        if [part.shape for part in parts] != shapes:
            raise ValueError("its arrays have other shapes")
    except (ValueError, KeyError, TypeError, msgspec.MsgspecError) as error:
        raise ConfigError(
            f"Not a content model of this version ({error}). Make one with `xm learn`."
        ) from error
    return Content(*parts)


def write_content(content: Content, **notes: object) -> bytes:
    """A content model as JSON, with notes on its sources."""
    parts = {name: _rounded(part).tolist() for name, part in content._asdict().items()}
    return msgspec.json.encode({**notes, **_FEATURES, **parts}) + b"\n"


def _rounded(values: Floats) -> Floats:
    """Round to five digits: further digits differ between processors."""
    digits = 4 - np.floor(np.log10(np.maximum(np.abs(values), 1e-6)))
    rounded: Floats = np.rint(values * 10**digits) / 10**digits
    return rounded
