"""Feature extraction: prompts to the numbers that a key's sketches are made of.

One compiled kernel (`kernel.py`) reads each prompt once. All hashes are keyed with the deployment's
secret. Those that are stored or published (of the prompt, its template and its cell) end in
SipHash, each with a key of its own, so nobody without the secret can test a candidate prompt or
invert one. Hashes of words and chunks stay in memory and are faster. The meaning is not keyed, so
one baseline is valid everywhere.
"""

from __future__ import annotations

import hashlib
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.identity import derive
from monitor.prompts import kernel
from monitor.prompts.characters import characters
from monitor.prompts.content_model import Content, shipped_content
from monitor.prompts.kernel import CELL, KEYED, MEANING, Tables
from monitor.prompts.lexicon import trigger_words
from monitor.prompts.normalise import MAX_BYTES, Texts
from monitor.prompts.projection import CONTENT, LISTS, SHARES
from monitor.prompts.segment import SEEDS, WORD
from monitor.prompts.style import STYLE, style_tables, style_words
from monitor.prompts.template_hash import instruction_words
from monitor.prompts.vocabulary import concept_words, known_words, language_words
from monitor.prompts.word_vectors import tokens

CACHE_SLOTS = 1 << 17  # of the cache of chunks, 32 bytes each


class Features(NamedTuple):
    """Features of n prompts.

    Attributes:
        meaning: `(n, MEANING) int8`, a vector of MEANING_LENGTH; zeros for an empty prompt.
        prompt: `(n,) uint64`, keyed hash of the words and inner marks.
        template: `(n,) uint64`, keyed hash of the instruction, see `template_hash.py`.
        cell: `(n,) uint32`, keyed hash of the cell of meaning space, one of 65,536.
        opening, closing: `(n, MEANING) int8`, meaning of the first and the last words.
        style: `(n, len(STYLE)) float32`, how the prompt is written, see `style.py`.
        concepts: `(n,) uint64`, a bit for each of CONCEPTS at the beginning or the end.
        family: `(n,) uint8`, index in FAMILIES of its language, see `vocabulary.py`.
        content: `(n, CONTENT) int8`, position relative to the baseline, times SCALE.
        lists: `(n, len(LISTS) * len(SHARES)) float32`, similarity to prompt lists, in standard
            deviations, see `projection.py`.
        unreadable: `(n,) bool`, whether most words are of no language, see `kernel.py`.
        triggered: `(n,) bool`, whether it may have a phrase of the lexicon, see `lexicon.py`.
    """

    meaning: npt.NDArray[np.int8]
    prompt: npt.NDArray[np.uint64]
    template: npt.NDArray[np.uint64]
    cell: npt.NDArray[np.uint64]
    opening: npt.NDArray[np.int8]
    closing: npt.NDArray[np.int8]
    style: npt.NDArray[np.float32]
    concepts: npt.NDArray[np.uint64]
    family: npt.NDArray[np.uint8]
    content: npt.NDArray[np.int8]
    lists: npt.NDArray[np.float32]
    unreadable: npt.NDArray[np.bool_]
    triggered: npt.NDArray[np.bool_]

    @classmethod
    def empty(cls, n: int, rest: int) -> Features:
        """Memory for the features of n prompts; for those that the task model does not read, of
        `rest` prompts.
        """
        return cls(
            np.empty((n, MEANING), np.int8),
            np.empty(rest, np.uint64),
            np.empty(rest, np.uint64),
            np.empty(rest, np.uint32),
            np.empty((n, MEANING), np.int8),
            np.empty((n, MEANING), np.int8),
            np.empty((n, len(STYLE)), np.float32),
            np.empty(rest, np.uint64),
            np.empty(rest, np.uint8),
            np.empty((rest, CONTENT), np.int8),
            np.empty((rest, len(LISTS) * len(SHARES)), np.float32),
            np.empty(rest, np.bool_),
            np.empty(rest, np.bool_),
        )


class Extractor:
    """Extracts the features of prompts. Not thread-safe: it owns scratch memory.

    Args:
        secret: up to 64 bytes, derived from the deployment's secret.
        content: the content model; by default the shipped one.
        slots: chunks whose tokens are cached, a power of two; results do not depend on it.

    Attributes:
        model: tag of the content model.
        cache_misses: chunks that were not in the cache so far.

    >>> features = Extractor(b"secret")(Texts.of(["Hello there!", "  hello THERE"]))
    >>> bool(features.prompt[0] == features.prompt[1])
    True
    """

    def __init__(
        self, secret: bytes, content: Content | None = None, *, slots: int = CACHE_SLOTS
    ) -> None:
        content = shipped_content() if content is None else content
        self.model = content.tag
        self.tables = _tables(secret, content)
        self.workspace = kernel.allocate(slots, MAX_BYTES + 64)
        self.cache_misses = 0
        self(Texts.of(["Compile."]))

    def __call__(self, texts: Texts, *, brief: bool = False) -> Features:
        """The features of n prompts.

        Args:
            texts: the prompts.
            brief: only meaning, opening, closing and style, which the task model reads; the other
                arrays are empty.
        """
        n = len(texts.starts)
        features = Features.empty(n, 0 if brief else n)
        buffer = np.frombuffer(texts.data, np.uint8)
        self.cache_misses += kernel.extract(
            buffer, texts.starts, texts.ends, self.tables, self.workspace, features, brief
        )
        return features


def _tables(secret: bytes, content: Content) -> Tables:
    kinds = characters()
    seeds = np.frombuffer(derive(secret, "words", 8 * SEEDS), "<u8").astype(np.uint64)
    keys = np.frombuffer(b"".join(derive(secret, name) for name in KEYED), "<u8").astype(np.uint64)
    words = chain(
        style_words(), instruction_words(), language_words(), concept_words(), trigger_words()
    )
    return Tables(
        kinds.kind,
        kinds.script,
        kinds.first,
        kinds.edge,
        *tokens(),
        seeds=seeds,
        keys=keys.reshape(-1, 2),
        planes=_planes(secret),
        known=known_words(words, seeds[WORD]),
        style=style_tables(),
        projection=content.projection,
    )


def _planes(secret: bytes) -> npt.NDArray[np.int32]:
    """Normals of random planes, `(CELL, MEANING) int32`, each component 1 or -1."""
    data = hashlib.shake_256(derive(secret, "planes", 32)).digest(CELL * MEANING // 8)
    bits = np.unpackbits(np.frombuffer(data, np.uint8)).astype(np.int32)
    return (2 * bits - 1).reshape(CELL, MEANING)
