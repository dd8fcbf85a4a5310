"""The kernel that reads prompts: bytes in, numbers out.

Each prompt is taken apart once (`segment.py`); each feature is then a short loop over its words or
tokens. Sums are of whole numbers, but for those of `projection.py`, whose order is fixed: no batch
changes a bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.kernels.bits import C1, C2, U, aligned, entry, jit, mix
from monitor.prompts.bpe import look_up
from monitor.prompts.projection import WIDTH, Projection, project
from monitor.prompts.segment import COUNTS, LONGEST, read
from monitor.prompts.style import DISTINCT, ShapeTables, describe
from monitor.prompts.template_hash import fingerprint

MEANING, WORDS, MINHASHES, CELL = 64, 32, 16, 16
_BUCKET = U(65 - WORDS.bit_length())  # the highest bits of a hash, and the one below them
_SIGN = _BUCKET - U(1)


class Tables(NamedTuple):
    """What the kernel looks up: see `characters.py` and `word_vectors.py`; the rest depends on the
    secret.

    Attributes:
        seeds: `(SEEDS,) uint64`.
        lanes: `(2, MINHASHES) uint32`, what each lane flips and multiplies by.
        planes: `(CELL, MEANING) int32`, what splits meaning space into cells.
        vocabulary: `(4096,) uint64`, the hashes of words that instructions are made of.
        shape, projection: see `style.py` and `projection.py`.
    """

    kind: npt.NDArray[np.uint8]
    first: npt.NDArray[np.uint8]
    edge: npt.NDArray[np.uint8]
    vectors: npt.NDArray[np.int8]
    single: npt.NDArray[np.int16]
    spaces: npt.NDArray[np.int16]
    merges: npt.NDArray[np.uint64]
    seeds: npt.NDArray[np.uint64]
    lanes: npt.NDArray[np.uint32]
    planes: npt.NDArray[np.int32]
    vocabulary: npt.NDArray[np.uint64]
    shape: ShapeTables
    projection: Projection


class Memory(NamedTuple):
    """What the kernel writes on.

    Attributes:
        slots: `(slots // 2, 2, 4) uint64`, a chunk's hash, then its tokens, 15 bits each, and
            their number in the highest four bits of the second.
        chunks: `(3, most) uint64`, the hash of each chunk of a prompt, twice its beginning in the
            buffer plus one if a space belongs to it, and its end.
        words: `(3, most) uint64`, the hash of each word, the same with numbers made alike, and
            scratch.
        traits: `(most,) uint8`, whether each word is QUOTED, ENDS a sentence, ASKS with it.
        tokens: `(2 * most,) int16`, the tokens of a prompt.
        triples: `(most,) uint32`, hashes of triples of words.
        spelling: `(3, LONGEST + 8) int64`.
        counts: `(COUNTS,) int64`, of characters, words and lines.
        tally: `(128,) int64`, of each mark of ASCII.
        seen: `(4 * DISTINCT, 2) uint64`, when words were last seen and which.
        turn: `(1,) int64`, prompts read so far.
        part, total: `(MEANING,)`, sums of vectors.
        sums: `(WIDTH,) float32`, of the projection.
        hashed: `(WORDS,) int32`.
    """

    slots: npt.NDArray[np.uint64]
    chunks: npt.NDArray[np.uint64]
    words: npt.NDArray[np.uint64]
    traits: npt.NDArray[np.uint8]
    tokens: npt.NDArray[np.int16]
    triples: npt.NDArray[np.uint32]
    spelling: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    tally: npt.NDArray[np.int64]
    seen: npt.NDArray[np.uint64]
    turn: npt.NDArray[np.int64]
    part: npt.NDArray[np.int16]
    total: npt.NDArray[np.int32]
    sums: npt.NDArray[np.float32]
    hashed: npt.NDArray[np.int32]


def memory(slots: int, most: int) -> Memory:
    """An empty memory, for prompts of so many bytes at the most."""
    return Memory(
        aligned((slots // 2, 2, 4), np.uint64),
        np.empty((3, most), np.uint64),
        np.empty((3, most), np.uint64),
        np.empty(most, np.uint8),
        np.empty(2 * most, np.int16),
        np.empty(most, np.uint32),
        np.empty((3, LONGEST + 8), np.int64),
        np.empty(COUNTS, np.int64),
        np.empty(128, np.int64),
        np.zeros((4 * DISTINCT, 2), np.uint64),
        np.zeros(1, np.int64),
        np.empty(MEANING, np.int16),
        np.empty(MEANING, np.int32),
        aligned((WIDTH,), np.float32),
        np.empty(WORDS, np.int32),
    )


@jit
def _sum(tokens: Any, n: int, vectors: Any, part: Any, total: Any) -> None:
    """The sum of the vectors of n tokens; parts of it fit 16 bits."""
    total[:] = 0
    while n % 4:
        tokens[n] = 0  # the vector of no character
        n += 1
    for begin in range(0, n, 256):
        part[:] = 0
        for i in range(begin, min(begin + 256, n), 4):
            a, b, c, d = U(tokens[i]), U(tokens[i + 1]), U(tokens[i + 2]), U(tokens[i + 3])
            for j in range(MEANING):
                part[j] += (
                    np.int16(vectors[a, j])
                    + np.int16(vectors[b, j])
                    + np.int16(vectors[c, j])
                    + np.int16(vectors[d, j])
                )
        for j in range(MEANING):
            total[j] += part[j]


@jit
def _few(tokens: Any, begin: int, end: int, vectors: Any, total: Any) -> None:
    """The sum of the vectors of a few tokens."""
    total[:] = 0
    for i in range(begin, end):
        token = U(tokens[i])
        for j in range(MEANING):
            total[j] += np.int32(vectors[token, j])


@jit
def _unit(total: Any, out: Any, row: int) -> None:
    """The direction of a vector, times 127."""
    squares = np.int64(0)
    for j in range(len(total)):
        squares += np.int64(total[j]) * np.int64(total[j])
    scale = 127.0 / np.sqrt(np.float64(squares)) if squares else 0.0
    for j in range(len(total)):
        out[row, j] = np.int8(np.rint(np.float64(total[j]) * scale))


@jit
def _hashed(words: int, memory: Any, total: Any) -> None:
    """Count words and pairs of neighbours in signed buckets."""
    alike, pairs = memory.words[1], memory.words[2]
    total[:] = 0
    for i in range(1, words):
        pairs[i] = mix(alike[i - 1] * C1 + alike[i])
    for i in range(words):
        total[alike[i] >> _BUCKET] += 1 - 2 * np.int32((alike[i] >> _SIGN) & U(1))
    for i in range(1, words):
        total[pairs[i] >> _BUCKET] += 1 - 2 * np.int32((pairs[i] >> _SIGN) & U(1))


@jit
def _minhash(words: int, memory: Any, lanes: Any, out: Any, row: int) -> None:
    """In each lane the least of its hashes over the triples of neighbours."""
    exact, triples = memory.words[0], memory.triples
    if words < 3:
        alone = exact[0] if words else U(0)
        triples[0] = mix(alone * C1 + exact[1] if words == 2 else alone) >> U(32)
    for i in range(2, words):
        triples[i - 2] = mix((exact[i - 2] * C1 + exact[i - 1]) * C2 + exact[i]) >> U(32)
    for j in range(MINHASHES):
        flip, times, least = lanes[0, j], lanes[1, j], np.uint32(0xFFFFFFFF)
        for i in range(max(words - 2, 1)):
            least = min(least, np.uint32((triples[i] ^ flip) * times))
        out[row, j] = least


@jit
def _cell(meaning: Any, row: int, planes: Any) -> Any:
    cell = np.uint32(0)
    for i in range(CELL):
        side = np.int32(0)
        for j in range(MEANING):
            side += planes[i, j] * np.int32(meaning[row, j])
        cell |= np.uint32(side > 0) << np.uint32(i)
    return cell


@entry
def extract(
    buffer: Any, starts: Any, ends: Any, tables: Tables, memory: Memory, features: Any
) -> int:
    """Read n prompts into n rows of features; returns how many chunks had to be spelled."""
    total, hashed, part = memory.total, memory.hashed, memory.part
    spelled = 0
    for i in range(len(starts)):
        chunks, n, words, whole = read(buffer, U(starts[i]), U(ends[i]), tables, memory)
        end, misses, opening, closing = look_up(buffer, chunks, tables, memory, n)
        spelled += misses
        _few(memory.tokens, n, opening, tables.vectors, total)
        _unit(total, features.opening, i)
        _few(memory.tokens, closing, end, tables.vectors, total)
        _unit(total, features.closing, i)
        _sum(memory.tokens, end, tables.vectors, part, total)
        _unit(total, features.meaning, i)
        _hashed(words, memory, hashed)
        _unit(hashed, features.words, i)
        _minhash(words, memory, tables.lanes, features.minhash, i)
        describe(words, memory, tables.shape, features.shape, i)
        project(features, i, tables.projection, memory.sums)
        features.prompt[i] = whole
        features.template[i] = fingerprint(words, memory, tables.vocabulary)
        features.cell[i] = _cell(features.meaning, i, tables.planes)
    return spelled
