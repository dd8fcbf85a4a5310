"""The kernel that extracts the features of prompts.

Each prompt is segmented once (`segment.py`); each feature is then a short loop over its words or
tokens. Sums are of integers, except in `projection.py`, where their order is fixed. So the features
of a prompt do not depend on its batch, to the bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.kernels.bits import U, aligned, entry, inner
from monitor.kernels.siphash import siphash_word
from monitor.prompts.bpe import append_tokens
from monitor.prompts.characters import SCRIPTS
from monitor.prompts.projection import PROMPTS, SUM_COLUMNS, Projection, project
from monitor.prompts.segment import (
    COUNTS,
    DIGITS,
    LETTERS,
    LONGEST,
    MARKS,
    NUMBER,
    OTHER,
    SCRIPT,
    TRIGGERED,
    segment,
)
from monitor.prompts.style import SEEN, STYLE, StyleTables, style_features
from monitor.prompts.template_hash import template_hash
from monitor.prompts.vocabulary import (
    CONCEPT_AT,
    IN_CONCEPT,
    LANGUAGES,
    LANGUAGES_AT,
    PAIR_AT,
    PAIR_IN_CONCEPT,
    SIX,
)

MEANING = 64  # dimensions
MEANING_LENGTH = 127  # of a meaning as int8 components
CELL = 16  # planes between cells of meaning space
UNREADABLE = 0.55  # tokens per letter; ordinary languages have 0.2 to 0.5, ROT13 0.62
UNREADABLE_LETTERS = 32  # in a prompt that can be judged
_EDGE = 32  # words at the beginning and at the end of a prompt that are searched for concepts
_READ = 256  # first words of a prompt in which common words are counted
_LEAST = 10  # words per common word of a language, at most
_CHINESE, _JAPANESE = SCRIPTS.index("chinese"), SCRIPTS.index("japanese")
_HAS_HAN = tuple(script in ("chinese", "japanese") for script in SCRIPTS)
# Letters that a character counts as: one of these scripts is most of a word.
_WEIGHTS = tuple(3 if script in ("chinese", "japanese", "korean") else 1 for script in SCRIPTS)
_KANA = 16  # characters per kana of a Japanese text, at most
KEYED = ("prompt", "template", "cell")  # features that are keyed hashes, each with its own key


class Tables(NamedTuple):
    """Read-only tables of the kernel.

    Attributes:
        kind, script, first, edge: see `Characters`.
        vectors, single, spaces, merges: see `Tokens`.
        seeds: `(SEEDS,) uint64`, of hashes that stay in memory; depends on the secret.
        keys: `(len(KEYED), 2) uint64`, of hashes that are stored; depends on the secret.
        planes: `(CELL, MEANING) int32`, normals of the planes between cells of meaning space;
            depends on the secret.
        known: `(8192, 2) uint64`, hash table of the known words, see `vocabulary.py`.
        style: see `StyleTables`.
        projection: see `Projection`.
    """

    kind: npt.NDArray[np.uint8]
    script: npt.NDArray[np.uint8]
    first: npt.NDArray[np.uint8]
    edge: npt.NDArray[np.uint8]
    vectors: npt.NDArray[np.int8]
    single: npt.NDArray[np.int16]
    spaces: npt.NDArray[np.int16]
    merges: npt.NDArray[np.uint64]
    seeds: npt.NDArray[np.uint64]
    keys: npt.NDArray[np.uint64]
    planes: npt.NDArray[np.int32]
    known: npt.NDArray[np.uint64]
    style: StyleTables
    projection: Projection


class Workspace(NamedTuple):
    """Scratch memory of the kernel, and its cache of chunks.

    Attributes:
        slots: `(slots // 2, 2, 4) uint64`, the cache: hash of a chunk, then its tokens, 15 bits
            each, and their number in the highest four bits of the second word.
        chunks: `(3, most) uint64`, of each chunk of a prompt: its hash, twice its byte offset plus
            one if a space precedes it, and the offset of its end.
        words: `(most,) uint64`, hash of each word; `known`: its traits, see `vocabulary.py`.
        traits: `(most,) uint8`, flags of each word: QUOTED, ENDS a sentence, ASKS a question,
            NUMBER.
        tokens: `(2 * most,) int16`, tokens of a prompt.
        work: `(3, LONGEST + 8) int64`, scratch of `bpe.py`.
        counts: `(COUNTS,) int64`, of characters, sentences and lines, see `segment.py`.
        common: `(len(LANGUAGES),) int64`, common words of each language in a prompt.
        tally: `(128,) int64`, count of each ASCII mark.
        seen: `(SEEN,) uint64`, hash table of the words of a prompt.
        part: `(MEANING,) int16`, partial sum of vectors; `total`: `(MEANING,) int32`, their sum.
        present: `(len(STYLE),) int64` and `sums`: `(PROMPTS, SUM_COLUMNS) float32`, scratch of
            `projection.py`.
    """

    slots: npt.NDArray[np.uint64]
    chunks: npt.NDArray[np.uint64]
    words: npt.NDArray[np.uint64]
    known: npt.NDArray[np.uint64]
    traits: npt.NDArray[np.uint8]
    tokens: npt.NDArray[np.int16]
    work: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    common: npt.NDArray[np.int64]
    tally: npt.NDArray[np.int64]
    seen: npt.NDArray[np.uint64]
    part: npt.NDArray[np.int16]
    total: npt.NDArray[np.int32]
    present: npt.NDArray[np.int64]
    sums: npt.NDArray[np.float32]


def allocate(slots: int, most: int) -> Workspace:
    """An empty workspace, with a cache of `slots` chunks, for prompts of up to `most` bytes."""
    return Workspace(
        aligned((slots // 2, 2, 4), np.uint64),
        np.empty((3, most), np.uint64),
        np.empty(most, np.uint64),
        np.empty(most, np.uint64),
        np.empty(most, np.uint8),
        np.empty(2 * most, np.int16),
        np.empty((3, LONGEST + 8), np.int64),
        np.empty(COUNTS, np.int64),
        np.empty(len(LANGUAGES), np.int64),
        np.empty(128, np.int64),
        np.empty(SEEN, np.uint64),
        np.empty(MEANING, np.int16),
        np.empty(MEANING, np.int32),
        np.empty(len(STYLE), np.int64),
        aligned((PROMPTS, SUM_COLUMNS), np.float32),
    )


@inner
def _sum(tokens: Any, n: int, vectors: Any, part: Any, total: Any) -> None:
    """Sum the vectors of n tokens. Parts of 256 tokens fit 16 bits.

    Args:
        tokens: `(size,) int16`; up to three more are overwritten.
        vectors: `(32000, MEANING) int8`.
        part: `(MEANING,) int16`, scratch.
        total: `(MEANING,) int32`, the result.
    """
    total[:] = 0
    while n % 4:
        tokens[n] = 0  # its vector is zero
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


@inner
def _sum_few(tokens: Any, begin: int, end: int, vectors: Any, total: Any) -> None:
    """Sum the vectors of the tokens `begin` to `end`, which are few.

    Args:
        tokens: `(size,) int16`.
        vectors: `(32000, MEANING) int8`.
        total: `(MEANING,) int32`, the result.
    """
    total[:] = 0
    for i in range(begin, end):
        token = U(tokens[i])
        for j in range(MEANING):
            total[j] += np.int32(vectors[token, j])


@inner
def _normalise(total: Any, out: Any, row: int) -> None:
    """Write a vector scaled to MEANING_LENGTH.

    Args:
        total: `(d,) int32`, the vector.
        out: `(n, d) int8`, the result; `row`: its row.
    """
    squares = np.int64(0)
    for j in range(len(total)):
        squares += np.int64(total[j]) * np.int64(total[j])
    scale = MEANING_LENGTH / np.sqrt(np.float64(squares)) if squares else 0.0
    for j in range(len(total)):
        out[row, j] = np.int8(np.rint(np.float64(total[j]) * scale))


@inner
def _cell(meaning: Any, row: int, planes: Any) -> Any:
    """The cell of meaning space, uint32: one bit for the side of each plane.

    Args:
        meaning: `(n, MEANING) int8`; `row`: the prompt's row.
        planes: `(CELL, MEANING) int32`.
    """
    vector, cell = meaning[row], np.uint32(0)
    for i in range(CELL):
        plane, side = planes[i], np.int32(0)
        for j in range(len(plane)):  # of a length unknown to the compiler, which then vectorises
            side += plane[j] * np.int32(vector[j])
        cell |= np.uint32(side > 0) << np.uint32(i)
    return cell


@inner
def _is_unreadable(counts: Any, spelt: int) -> Any:
    """Whether the words are of no language: a word has a token per three or four letters, a cipher
    one per letter or two. Only ASCII letters count, and only where they are most of the prompt.
    Hashes have more digits than letters.

    Args:
        counts: `(COUNTS,) int64`, of characters.
        spelt: tokens of the ASCII letters.
    """
    letters = counts[LETTERS]
    others = counts[OTHER] + counts[DIGITS] + counts[MARKS]
    return letters >= UNREADABLE_LETTERS and letters > 2 * others and spelt > UNREADABLE * letters


@inner
def _family(words: int, workspace: Any) -> Any:
    """Index in FAMILIES of a segmented prompt, uint8.

    Args:
        words: number of words in `workspace`, a `Workspace`.
    """
    counts = workspace.counts
    script, most = 0, counts[SCRIPT] + counts[LETTERS]
    for i in range(1, len(SCRIPTS)):
        count = counts[SCRIPT + i]
        count *= _WEIGHTS[i]
        if count > most:
            script, most = i, count
    if _HAS_HAN[script]:
        kana, han = counts[SCRIPT + _JAPANESE], counts[SCRIPT + _CHINESE]
        script = _JAPANESE if kana * _KANA >= kana + han else _CHINESE
    if script > 0:
        return np.uint8(len(LANGUAGES) + script - 1)
    common, spelt = workspace.common, 0
    common[:] = 0
    for i in range(min(words, _READ)):
        if workspace.traits[i] & NUMBER:
            continue
        spelt += 1
        languages = workspace.known[i] >> LANGUAGES_AT
        if languages:
            for j in range(len(common)):
                common[j] += (languages >> U(j)) & U(1)
    best = 0
    for j in range(1, len(LANGUAGES)):
        if common[j] > common[best]:
            best = j
    return np.uint8(best if common[best] * _LEAST >= spelt else 0)


@inner
def _concepts_at_edges(words: int, known: Any) -> Any:
    """The concepts at the edges of a segmented prompt, uint64: one bit for each of CONCEPTS.

    Args:
        words: its number of words.
        known: `(most,) uint64`, their traits.
    """
    found = _concepts(known, 0, min(words, _EDGE))
    return found | _concepts(known, max(words - _EDGE, min(words, _EDGE)), words)


@inner
def _concepts(known: Any, begin: int, end: int) -> Any:
    """The concepts, uint64, of the words `begin` to `end`; a pair goes before a word."""
    found = U(0)
    for i in range(begin, end):
        traits = known[i]
        if traits & PAIR_IN_CONCEPT and i > begin:
            found |= U(1) << ((traits >> PAIR_AT) & SIX)
        elif traits & IN_CONCEPT:
            found |= U(1) << ((traits >> CONCEPT_AT) & SIX)
    return found


@entry
def extract(
    buffer: Any,
    starts: Any,
    ends: Any,
    tables: Tables,
    workspace: Workspace,
    features: Any,
    brief: bool,
) -> int:
    """Extract the features of n prompts.

    Args:
        buffer: `(size,) uint8`, normalised prompts.
        starts, ends: `(n,) int64`, byte offsets of each prompt.
        tables: `Tables`.
        workspace: `Workspace`.
        features: `Features` of n rows, the result.
        brief: whether to write only meaning, opening, closing and style.

    Returns:
        Number of chunks that were not in the cache.
    """
    total, part, keys = workspace.total, workspace.part, tables.keys
    cache_misses = 0
    for i in range(len(starts)):
        chunks, n, words, whole = segment(buffer, U(starts[i]), U(ends[i]), tables, workspace)
        end, misses, opening, closing, spelt = append_tokens(buffer, chunks, tables, workspace, n)
        cache_misses += misses
        _sum_few(workspace.tokens, n, opening, tables.vectors, total)
        _normalise(total, features.opening, i)
        _sum_few(workspace.tokens, closing, end, tables.vectors, total)
        _normalise(total, features.closing, i)
        _sum(workspace.tokens, end, tables.vectors, part, total)
        _normalise(total, features.meaning, i)
        style_features(words, workspace, tables.style, features.style, i)
        if brief:
            continue
        features.family[i] = _family(words, workspace)
        features.concepts[i] = _concepts_at_edges(words, workspace.known)
        features.unreadable[i] = _is_unreadable(workspace.counts, spelt)
        features.triggered[i] = workspace.counts[TRIGGERED] != 0
        template = template_hash(words, workspace)
        cell = U(_cell(features.meaning, i, tables.planes))
        features.prompt[i] = siphash_word(whole, keys[0, 0], keys[0, 1])
        features.template[i] = siphash_word(template, keys[1, 0], keys[1, 1])
        features.cell[i] = siphash_word(cell, keys[2, 0], keys[2, 1])
    for i in range(0, 0 if brief else len(starts), PROMPTS):
        last = min(i + PROMPTS, len(starts))
        project(features, i, last, tables.projection, workspace.present, workspace.sums)
    return cache_misses
