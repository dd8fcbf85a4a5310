"""Prompts to numbers: all that the sketches of a key are made of.

One compiled kernel (`kernel.py`) reads each prompt once. All hashes are keyed with the
deployment's secret, so that nobody without it can look for the prompts behind a record or write
prompts whose hashes collide; the meaning is not, so that its reference holds everywhere.
"""

from __future__ import annotations

import hashlib
import math
import tomllib
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.prompts import kernel
from monitor.prompts.characters import characters
from monitor.prompts.content_model import Content, shipped_content
from monitor.prompts.kernel import CELL, MEANING, MINHASHES, WORDS, Tables
from monitor.prompts.normalise import LIMIT, Texts, join
from monitor.prompts.projection import CONTENT, LISTS, SHARES
from monitor.prompts.segment import SEEDS
from monitor.prompts.style import SHAPE
from monitor.prompts.style import tables as shape_tables
from monitor.prompts.template_hash import learn
from monitor.prompts.word_vectors import tokens

SLOTS = 1 << 17  # of 32 bytes


class Features(NamedTuple):
    """Features of n prompts.

    Attributes:
        meaning: `(n, MEANING) int8`, a unit vector times 127; zeros for an empty prompt.
        words: `(n, WORDS) int8`, words and pairs of neighbours in signed buckets, likewise.
        minhash: `(n, MINHASHES) uint32`, of triples of words, or of what a shorter prompt has.
        prompt: `(n,) uint64`, what is asked, whatever the case, the spaces and the outer marks.
        template: `(n,) uint64`, what is left when numbers, names and documents change.
        cell: `(n,) uint32`, a cell of meaning space, one of 65,536.
        opening, closing: `(n, MEANING) int8`, the meaning of its first and its last words.
        shape: `(n, len(SHAPE)) float32`, how it is written.
        content: `(n, CONTENT) int8`, its place among the public, times SCALE.
        lists: `(n, len(LISTS) * len(SHARES)) float32`, how like work lists of each kind it is.
    """

    meaning: npt.NDArray[np.int8]
    words: npt.NDArray[np.int8]
    minhash: npt.NDArray[np.uint32]
    prompt: npt.NDArray[np.uint64]
    template: npt.NDArray[np.uint64]
    cell: npt.NDArray[np.uint32]
    opening: npt.NDArray[np.int8]
    closing: npt.NDArray[np.int8]
    shape: npt.NDArray[np.float32]
    content: npt.NDArray[np.int8]
    lists: npt.NDArray[np.float32]


class Extractor:
    """Reads prompts. Not for two threads at once: what it writes on is its own.

    Args:
        secret: 64 bits derived from the deployment's secret.
        content: how the public writes; default: as shipped.
        slots: chunks whose spelling is remembered, a power of two; results do not depend on it.

    >>> features = Extractor(1)(join(["Hello there!", "  hello THERE"]))
    >>> bool(features.prompt[0] == features.prompt[1])
    True
    """

    def __init__(self, secret: int, content: Content | None = None, *, slots: int = SLOTS) -> None:
        content = shipped_content() if content is None else content
        self.model = content.tag
        self.tables = _tables(secret, content)
        self.memory = kernel.memory(slots, 4 * (LIMIT + 16))
        self.spelled = 0
        self(join(["Warm."]))

    def __call__(self, texts: Texts) -> Features:
        """The features of n prompts."""
        n = len(texts.starts)
        features = Features(
            np.empty((n, MEANING), np.int8),
            np.empty((n, WORDS), np.int8),
            np.empty((n, MINHASHES), np.uint32),
            np.empty(n, np.uint64),
            np.empty(n, np.uint64),
            np.empty(n, np.uint32),
            np.empty((n, MEANING), np.int8),
            np.empty((n, MEANING), np.int8),
            np.empty((n, len(SHAPE)), np.float32),
            np.empty((n, CONTENT), np.int8),
            np.empty((n, len(LISTS) * len(SHARES)), np.float32),
        )
        buffer = np.frombuffer(texts.data, np.uint8)
        self.spelled += kernel.extract(
            buffer, texts.starts, texts.ends, self.tables, self.memory, features
        )
        return features


def _tables(secret: int, content: Content) -> Tables:
    kinds = characters()
    seeds = _drawn(secret, "seeds", (SEEDS,), np.uint64)
    odd = np.array([[0], [1]], np.uint32)
    bits = _drawn(secret, "planes", (CELL, MEANING), np.uint8) & 1
    return Tables(
        kinds.kind,
        kinds.first,
        kinds.edge,
        *tokens(),
        seeds=seeds,
        lanes=_drawn(secret, "lanes", (2, MINHASHES), np.uint32) | odd,
        planes=2 * bits.astype(np.int32) - 1,
        vocabulary=_vocabulary(seeds),
        shape=shape_tables(seeds),
        projection=content.projection,
    )


def _drawn(secret: int, what: str, shape: tuple[int, ...], kind: type[Any]) -> npt.NDArray[Any]:
    """Numbers that whoever lacks the secret cannot tell from random ones, the same for ever."""
    dtype = np.dtype(kind).newbyteorder("<")
    source = hashlib.shake_256(secret.to_bytes(8, "little") + what.encode())
    data = source.digest(dtype.itemsize * math.prod(shape))
    return np.frombuffer(data, dtype).astype(kind).reshape(shape)


def _vocabulary(seeds: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    text = resources.files("monitor.prompts").joinpath("instructions.toml").read_text("utf-8")
    table = np.zeros(1 << 12, np.uint64)
    for language in tomllib.loads(text).values():
        for tasks, kind in enumerate(("links", "tasks")):
            words = join(language[kind].split())
            buffer = np.frombuffer(words.data, np.uint8)
            learn(buffer, words.starts, words.ends, tasks, seeds, table)
    return table
