"""Style: how a prompt is written, whatever it is about.

Prompt lists have one author or none: sentences of a few lengths, the same marks, the same first
word, no small talk. About a hundred counts separate that better than meaning does, and none of them
reveals what a prompt is about. Traces of a data set's clean-up are left out: double spaces, blank
lines, spaces at the ends.

Counts are logarithms, shares of rare things are square roots. The features here are raw; the
content model standardises them (`content_model.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.kernels.bits import U, count_bits, inner
from monitor.prompts.characters import EDGES
from monitor.prompts.cleaning.windows import LIMIT
from monitor.prompts.segment import (
    DASHES,
    DIGITS,
    FIRST,
    GAPS,
    LAST,
    LETTERS,
    MARKS,
    NUMBER,
    NUMBERED,
    OTHER,
    SENTENCES,
    SPACES,
)
from monitor.prompts.vocabulary import IN_STYLE, SIX, STYLE_AT, Known

MARK_CHARACTERS = ".,?!:;\"'`({[=<>/*#-_$@"
OCTAVES = 11  # classes of length, each 2 ** (1 / 1.2) times as long as the one before
# Known words: those with a feature each, small words, and words that a question begins with.
_OWN_FEATURE = """
    i you me my your the a an please now it that above we thanks more also continue following given
    answer question write
"""
_SMALLER = """
    i you he she it we they me my your the a an of to in is are was be can could would please
    thanks now no not and or but so if that this what how why do does
"""
_ASKERS = "what how why can is are do does who when where which"
ASKED = tuple(_OWN_FEATURE.split())
_SMALL, _ASKING = frozenset(_SMALLER.split()), frozenset(_ASKERS.split())
_LINKS = frozenset(("http", "https"))
_WORDS = [*ASKED, *sorted((_SMALL | _ASKING | _LINKS) - set(ASKED))]

STYLE = (
    *("length", "words", "word length", "spelt", "digits", "other", "gaps"),
    *(f"count {mark}" for mark in MARK_CHARACTERS),
    *("fence", "dashes", "numbered", "link", "sentences", "sentence length"),
    *(f"first {kind}" for kind in EDGES),
    *(f"last {kind}" for kind in EDGES),
    *(f"octave {i}" for i in range(OCTAVES)),
    *("small words", "distinct words", "asks"),
    *(f"word {word}" for word in ASKED),
)
_COUNTED, _FENCE = 7, 7 + len(MARK_CHARACTERS)
_FIRST = _FENCE + 6
_LAST, _OCTAVE = _FIRST + len(EDGES), _FIRST + 2 * len(EDGES)
_SMALLS = _OCTAVE + OCTAVES
_ASKED_AT = _SMALLS + 3

DISTINCT_WORDS = 256  # first words of a prompt, of which the distinct ones are counted
SEEN = 2 * DISTINCT_WORDS  # slots of the table that counts them
_MAX = 16 * LIMIT  # exceeds the characters plus words, and the bytes, of a prompt


def _mask(words: frozenset[str]) -> Any:
    return U(sum(1 << _WORDS.index(word) for word in words))


SMALL, ASKING, LINKS = _mask(_SMALL), _mask(_ASKING), _mask(_LINKS)


class StyleTables(NamedTuple):
    """Tables of the style kernel.

    Attributes:
        logs: `(n,) float32`, natural logarithm of each index; 0 for 0.
        octaves: `(n,) uint8`, class of each length in characters.
        marks: `(len(MARK_CHARACTERS),) uint8`, the bytes of MARK_CHARACTERS.
    """

    logs: npt.NDArray[np.float32]
    octaves: npt.NDArray[np.uint8]
    marks: npt.NDArray[np.uint8]


def style_words() -> Iterator[Known]:
    """The known words, each with its number."""
    for number, word in enumerate(_WORDS):
        yield word, "", int(IN_STYLE) | number << int(STYLE_AT)


def style_tables() -> StyleTables:
    """The tables."""
    numbers = np.arange(1, _MAX)
    octave = np.clip((np.log2(numbers) - 2) * 1.2, 0, OCTAVES - 1).astype(np.uint8)
    return StyleTables(
        np.append(0.0, np.log(numbers)).astype(np.float32),
        np.append(np.uint8(0), octave),
        np.frombuffer(MARK_CHARACTERS.encode(), np.uint8),
    )


@inner
def _lexical(words: int, workspace: Any) -> tuple[int, int, Any, Any]:
    """Count the words that are not numbers.

    Args:
        words: number of words in `workspace`, a `Workspace`.

    Returns:
        Their number, the number of distinct ones among the first DISTINCT_WORDS, a bit for each
        known word that occurs (uint64), and the bit of the first word if it is known (uint64).
    """
    seen, size = workspace.seen, 2
    while size < 2 * min(words, DISTINCT_WORDS):
        size *= 2
    seen[:size] = U(0)
    spelt, distinct, found, first = 0, 0, U(0), U(0)
    for i in range(words):
        if workspace.traits[i] & NUMBER:
            continue
        word = workspace.words[i]
        known = workspace.known[i]
        bit = U(known & IN_STYLE != U(0)) << ((known >> STYLE_AT) & SIX)
        found |= bit
        if spelt == 0:
            first = bit
        if spelt < DISTINCT_WORDS:
            slot = (word >> U(20)) & U(size - 1)
            while (seen[slot] != U(0)) & (seen[slot] != word):
                slot = (slot + U(1)) & U(size - 1)
            distinct += seen[slot] == U(0)
            seen[slot] = word
        spelt += 1
    return spelt, distinct, found, first


@inner
def style_features(words: int, workspace: Any, tables: Any, style: Any, row: int) -> None:
    """Write the style features of a segmented prompt; zeros if it has no characters.

    Args:
        words: number of words in `workspace`, a `Workspace`.
        tables: `StyleTables`.
        style: `(n, len(STYLE)) float32`, the result; `row`: the prompt's row.
    """
    counts, tally, logs = workspace.counts, workspace.tally, tables.logs
    style[row] = np.float32(0)
    marks = counts[MARKS]
    letters = counts[LETTERS] + counts[OTHER]
    characters = letters + counts[DIGITS] + marks + counts[SPACES]
    if characters == 0:
        return
    spelt, distinct, found, first = _lexical(words, workspace)
    pieces, population = words + marks, max(spelt, 1)
    out = style[row]
    out[0] = logs[characters + 1]
    out[1] = logs[pieces + 1]
    out[2] = logs[letters + population] - logs[population]  # log1p of the mean
    out[3] = np.float32(spelt / max(pieces, 1))
    out[4] = np.float32(np.sqrt(counts[DIGITS] / characters))
    out[5] = np.float32(np.sqrt(counts[OTHER] / characters))
    out[6] = np.float32(counts[GAPS] / characters)
    for j in range(len(tables.marks)):
        out[_COUNTED + j] = logs[tally[tables.marks[j]] + 1]
    out[_FENCE] = tally[96] >= 3
    out[_FENCE + 1] = counts[DASHES] > 0
    out[_FENCE + 2] = counts[NUMBERED] > 0
    out[_FENCE + 3] = (found & LINKS) != 0
    sentences = counts[SENTENCES]
    out[_FENCE + 4] = logs[sentences + 1]
    out[_FENCE + 5] = logs[pieces + max(sentences, 1)] - logs[max(sentences, 1)]
    out[_FIRST + counts[FIRST]] = 1
    out[_LAST + counts[LAST]] = 1
    out[_OCTAVE + tables.octaves[characters]] = 1
    out[_SMALLS] = np.float32(count_bits(found & SMALL) / np.sqrt(population))
    out[_SMALLS + 1] = np.float32(distinct / max(min(spelt, DISTINCT_WORDS), 1))
    out[_SMALLS + 2] = (first & ASKING) != 0
    for j in range(len(ASKED)):
        out[_ASKED_AT + j] = np.float32((found >> U(j)) & U(1))
