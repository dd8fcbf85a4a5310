"""Known words: the language of a prompt, and what its instruction is about.

Word vectors and style differ more between languages than between topics. So the content model has
one centre per family of languages (`content_model.py`). A script is recognised by its characters, a
language in Latin script by its most frequent words (`languages.toml`).

An instruction stands at the beginning or at the end of a prompt. Its words, in any language, belong
to a few concepts, such as "step", "reply" or "score" (`concepts.toml`). Which of them occur there
tells a request for the working or for a judgement from other requests, whatever it is about.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.kernels.bits import C1, U, entry, hash_bytes, inner
from monitor.prompts.characters import SCRIPTS, SINGLE, characters
from monitor.prompts.normalise import Texts
from monitor.prompts.segment import LETTERS, NUMBER, SCRIPT, WORD


@lru_cache
def _load(name: str) -> dict[str, list[str]]:
    text = resources.files("monitor.prompts").joinpath(name).read_text("utf-8")
    return {key: words.split() for key, words in tomllib.loads(text).items()}


LANGUAGES = tuple(_load("languages.toml"))  # in Latin script, at most 16; the first is the default
FAMILIES = (*LANGUAGES, *SCRIPTS[1:])
CONCEPTS = tuple(_load("concepts.toml"))  # at most 64

_EDGE = 32  # words at the beginning and at the end of a prompt that are searched for concepts
_READ = 256  # first words of a prompt in which common words are counted
_LEAST = 10  # words per common word of a language, at most
_CHINESE, _JAPANESE = SCRIPTS.index("chinese"), SCRIPTS.index("japanese")
_HAS_HAN = tuple(script in ("chinese", "japanese") for script in SCRIPTS)
# Letters that a character counts as: one of these scripts is most of a word.
_WEIGHTS = tuple(3 if script in ("chinese", "japanese", "korean") else 1 for script in SCRIPTS)
_KANA = 16  # characters per kana of a Japanese text, at most


def language_words(seeds: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The hash table of common words, `(4096,) uint64`, for words hashed with `seeds`.

    The last 16 bits of an entry are the languages of the word.
    """
    table = np.zeros(1 << 12, np.uint64)
    for i, found in enumerate(_load("languages.toml").values()):
        words = Texts.of(found)
        buffer = np.frombuffer(words.data, np.uint8)
        _add_words(buffer, words.starts, words.ends, 1 << i, seeds, table)
    return table


def concept_words(seeds: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The hash table of the words of concepts, `(4096,) uint64`, for words hashed with `seeds`.

    The last 16 bits of an entry are the number of the concept.
    """
    table = np.zeros(1 << 12, np.uint64)
    for i, found in enumerate(_load("concepts.toml").values()):
        pairs = [_words(each) for each in found]
        first, second = (Texts.of([pair[j] for pair in pairs]) for j in range(2))
        buffers = [np.frombuffer(words.data, np.uint8) for words in (first, second)]
        places = first.starts, first.ends, second.starts, second.ends
        _add_pairs(*buffers, *places, i, seeds, table)
    return table


def _words(entry: str) -> tuple[str, str]:
    """The two words of an entry, or one and an empty one."""
    first, _, second = entry.partition("_")
    kind = characters().kind
    if len(first) == 2 and all(kind[ord(character)] == SINGLE for character in first):
        return first[0], first[1]
    return first, second


@inner
def _slot(word: Any, table: Any) -> Any:
    """The slot of a word, uint64, or a free one.

    Args:
        word: uint64 hash.
        table: `(4096,) uint64`, see `language_words`.
    """
    slot = word >> U(52)
    while table[slot] and (table[slot] ^ word) >> U(16) != U(0):
        slot = (slot + U(1)) & U(len(table) - 1)
    return slot


@inner
def family(words: int, workspace: Any, table: Any) -> Any:
    """Index in FAMILIES of a segmented prompt, uint8.

    Args:
        words: number of words in `workspace`, a `Workspace`.
        table: `(4096,) uint64`, see `language_words`.
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
        word = workspace.words[i]
        languages = table[_slot(word, table)] & U(0xFFFF)
        if languages:
            for j in range(len(LANGUAGES)):
                common[j] += (languages >> U(j)) & U(1)
    best = 0
    for j in range(1, len(LANGUAGES)):
        if common[j] > common[best]:
            best = j
    return np.uint8(best if common[best] * _LEAST >= spelt else 0)


@inner
def concepts(words: int, workspace: Any, table: Any) -> Any:
    """The concepts at the edges of a segmented prompt, uint64: one bit for each of CONCEPTS.

    Args:
        words: number of words in `workspace`, a `Workspace`.
        table: `(4096,) uint64`, see `concept_words`.
    """
    found = _concepts(workspace.words, 0, min(words, _EDGE), table)
    return found | _concepts(workspace.words, max(words - _EDGE, min(words, _EDGE)), words, table)


@inner
def _concepts(words: Any, begin: int, end: int, table: Any) -> Any:
    """The concepts, uint64, of `words[begin:end]`, `(most,) uint64`; a pair goes before a word."""
    found, before = U(0), U(0)
    for i in range(begin, end):
        word = words[i]
        entry = table[_slot(_pair(before, word), table)]
        if entry == U(0):
            entry = table[_slot(word, table)]
        if entry:
            found |= U(1) << (entry & U(0x3F))
        before = word
    return found


@inner
def _pair(first: Any, second: Any) -> Any:
    """The hash of two words that follow each other; all are uint64."""
    return first * C1 + second


@entry
def _add_pairs(
    first: Any,
    second: Any,
    starts: Any,
    ends: Any,
    next_starts: Any,
    next_ends: Any,
    concept: int,
    seeds: Any,
    table: Any,
) -> None:
    """Add n words or pairs of words of a concept to the hash table of concepts.

    Args:
        first, second: `(size,) uint8`, the words; `starts`, `ends`, `next_starts`, `next_ends`:
            `(n,) int64`, their byte offsets. The second one may be empty.
        concept: its number.
        seeds: `(SEEDS,) uint64`.
        table: `(4096,) uint64`, 0 for a free slot.
    """
    for i in range(len(starts)):
        word = hash_bytes(first, U(starts[i]), U(ends[i]), seeds[WORD])
        if next_ends[i] > next_starts[i]:
            second_word = hash_bytes(second, U(next_starts[i]), U(next_ends[i]), seeds[WORD])
            word = _pair(word, second_word)
        table[_slot(word, table)] = (word & ~U(0xFFFF)) | U(concept)


@entry
def _add_words(buffer: Any, starts: Any, ends: Any, language: int, seeds: Any, table: Any) -> None:
    """Add n words of a language to the hash table of common words.

    Args:
        buffer: `(size,) uint8`, the words; `starts`, `ends`: `(n,) int64`, their byte offsets.
        language: the bit of the language.
        seeds: `(SEEDS,) uint64`.
        table: `(4096,) uint64`, 0 for a free slot.
    """
    for i in range(len(starts)):
        word = hash_bytes(buffer, U(starts[i]), U(ends[i]), seeds[WORD])
        slot = _slot(word, table)
        table[slot] = (word & ~U(0xFFFF)) | (table[slot] & U(0xFFFF)) | U(language)
