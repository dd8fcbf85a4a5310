"""The content model: how the public writes, and how work lists do. Statistics only, no prompt.

The shipped one is learned from public data sets; `xm learn` makes one from a deployment's own
ordinary traffic. What it says of a prompt is explained in `projection.py`.
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
from monitor.prompts.kernel import MEANING
from monitor.prompts.projection import (
    CLIP,
    CONTENT,
    FARTHEST,
    LISTS,
    MOST,
    SCALE,
    SHARES,
    STEP,
    WIDTH,
    Projection,
)
from monitor.prompts.style import SHAPE

UNIT = 127.0  # the length of a meaning
BROAD, NARROW = 4.0, 8.0  # what a meaning weighs beside the shape, to content and to lists
EDGE = 4.0  # and that of an opening or a closing
WIDE, LONG = MEANING + len(SHAPE), 3 * MEANING + len(SHAPE)
ODDS = np.arange(-CLIP * STEP, CLIP * STEP + 1) / STEP  # of the table of scores

Floats = npt.NDArray[np.float64]
_FILE = "content.json"


class Content(NamedTuple):
    """What is known of how prompts are written.

    Attributes:
        centre, spread: `(len(SHAPE),) float64`, of the counts under the public.
        origin: `(WIDE,) float64`, mean of [BROAD·meaning, standardised shape] under the public.
        whitening: `(WIDE, CONTENT) float64`, from deviations to content.
        directions: `(len(LISTS), LONG) float64`, of [NARROW·meaning, EDGE·opening, EDGE·closing,
            standardised shape], to log odds.
        offsets: `(len(LISTS),) float64`, added to them.
        means, deviations: `(len(LISTS), len(SHARES)) float64`, of scores under the public.
    """

    centre: Floats
    spread: Floats
    origin: Floats
    whitening: Floats
    directions: Floats
    offsets: Floats
    means: Floats
    deviations: Floats

    @classmethod
    def none(cls) -> Content:
        """Of a model that knows nothing: all prompts are ordinary."""
        count, lists = len(SHAPE), len(LISTS)
        return cls(
            np.zeros(count),
            np.ones(count),
            np.zeros(WIDE),
            np.zeros((WIDE, CONTENT)),
            np.zeros((lists, LONG)),
            np.zeros(lists),
            np.zeros((lists, len(SHARES))),
            np.ones((lists, len(SHARES))),
        )

    @property
    def tag(self) -> int:
        """Sixteen bits that tell models apart, never 0."""
        digest = hashlib.blake2b(digest_size=2)
        for part in self:
            digest.update(part.astype("<f8").tobytes())
        return int.from_bytes(digest.digest(), "little") or 1

    def standardised(self, shape: npt.NDArray[np.floating[Any]]) -> Floats:
        """Counts `(n, len(SHAPE))` as the kernel standardises them."""
        centred: Floats = (shape - self.centre) / self.spread
        return np.clip(centred, -FARTHEST, FARTHEST)

    @property
    def projection(self) -> Projection:
        """For the kernel."""
        rows, edges = aligned((WIDE, WIDTH), np.float32), aligned((2 * MEANING, 8), np.float32)
        count, lists = CONTENT, slice(CONTENT, CONTENT + len(LISTS))
        of_edges = slice(MEANING, 3 * MEANING)
        rows[:, :count] = SCALE * self.whitening
        rows[:MEANING, :count] *= BROAD / UNIT
        rows[:MEANING, lists] = self.directions[:, :MEANING].T * (NARROW / UNIT)
        rows[MEANING:, lists] = self.directions[:, of_edges.stop :].T
        edges[:, : len(LISTS)] = self.directions[:, of_edges].T * (EDGE / UNIT)
        absent = self.standardised(np.zeros((1, len(SHAPE)), np.float32))[0]
        base = np.zeros(WIDTH)
        base[:count] = SCALE * (
            (np.append(np.zeros(MEANING), absent) - self.origin) @ self.whitening
        )
        base[lists] = self.offsets + self.directions[:, of_edges.stop :] @ absent
        scores = (evidence(ODDS) - self.means[..., None]) / self.deviations[..., None]
        return Projection(
            rows,
            edges,
            base.astype(np.float32),
            self.centre.astype(np.float32),
            (1.0 / self.spread).astype(np.float32),
            absent.astype(np.float32),
            np.minimum(scores, MOST).astype(np.float32),
        )


def evidence(odds: Floats) -> Floats:
    """What log odds say, for each share: `(len(SHARES), n) float64` of `(n,)`."""
    shares = np.array(SHARES)[:, None]
    told: Floats = np.log1p(shares * np.expm1(np.clip(odds, -CLIP, CLIP)))
    return told


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
            f"XM_CONTENT names {file}, which cannot be read: {error.strerror}."
        ) from error


@lru_cache(1)
def shipped_content() -> Content:
    """The content model in the package; its file says where it is from."""
    return read_content(resources.files("monitor.prompts").joinpath(_FILE).read_bytes())


def read_content(text: bytes) -> Content:
    """Read a content model as `xm learn` writes it.

    Raises:
        ConfigError: if it is not one.
    """
    try:
        document: dict[str, Any] = msgspec.json.decode(text)
        if (document["shape"], document["lists"]) != (list(SHAPE), list(LISTS)):
            raise ValueError("it counts other things")
        parts = [np.array(document[name], np.float64) for name in Content._fields]
        shapes = [part.shape for part in Content.none()]
        if [part.shape for part in parts] != shapes:
            raise ValueError("its arrays have other shapes")
    except (ValueError, KeyError, TypeError, msgspec.MsgspecError) as error:
        raise ConfigError(
            f"This is no content model of this version ({error}): make one with `xm learn`."
        ) from error
    return Content(*parts)


def write_content(content: Content, **notes: object) -> bytes:
    """A content model as JSON, with notes on where it is from."""
    parts = {name: _rounded(part).tolist() for name, part in content._asdict().items()}
    return msgspec.json.encode({**notes, "shape": SHAPE, "lists": LISTS, **parts}) + b"\n"


def _rounded(values: Floats) -> Floats:
    """To five digits: more would differ from one processor to the next."""
    digits = 4 - np.floor(np.log10(np.maximum(np.abs(values), 1e-6)))
    rounded: Floats = np.rint(values * 10**digits) / 10**digits
    return rounded
