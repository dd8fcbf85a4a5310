"""Known words: all that the features need to know about a word, in one table.

Each word of a prompt is looked up once (`segment.py`). The traits that are found are bits: its role
in an instruction, its number in the style, its concept, its languages, and whether phrases of the
lexicon have it. A pair of words that follow each other may have traits too; they are added to those
of the second word.

Word vectors and style differ more between languages than between topics. So the content model has
one centre per family of languages (`content_model.py`). A script is recognised by its characters, a
language in Latin script by its most frequent words (`languages.toml`).

An instruction stands at the beginning or at the end of a prompt. Its words, in any language, belong
to a few concepts, such as "step", "reply" or "score" (`concepts.toml`). Which of them occur there
tells a request for the working or for a judgement from other requests, whatever it is about.

In all kernels here `table` is `(8192, 2) uint64`: the hash of a word and its traits, 0 if free.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.kernels.bits import C1, U, aligned, entry, hash_bytes, inner
from monitor.prompts.characters import SCRIPTS, SINGLE, characters
from monitor.prompts.normalise import Texts

LINK, TASK = 1, 2  # linking and task words, see `template_hash.py`
TRIGGER = U(8)  # occurs in phrases, see `lexicon.py`
OPENS = U(4)  # the first word of a known pair
IN_STYLE, STYLE_AT = U(16), U(8)  # has a number in the style, and its place: 6 bits
IN_CONCEPT, CONCEPT_AT = U(32), U(16)  # the same for the concept of the word
PAIR_IN_CONCEPT, PAIR_AT = U(64), U(24)  # the same for the concept of a pair
LANGUAGES_AT = U(32)  # place of the languages, 16 bits
SIX = U(63)

_SIZE = 1 << 13
_SHIFT = U(64 - 13)

Known = tuple[str, str, int]  # a word, the one after it or none, and their traits


@lru_cache
def _load(name: str) -> dict[str, list[str]]:
    text = resources.files("monitor.prompts").joinpath(name).read_text("utf-8")
    return {key: words.split() for key, words in tomllib.loads(text).items()}


LANGUAGES = tuple(_load("languages.toml"))  # in Latin script, at most 16; the first is the default
FAMILIES = (*LANGUAGES, *SCRIPTS[1:])
CONCEPTS = tuple(_load("concepts.toml"))  # at most 64


def language_words() -> Iterator[Known]:
    """The common words of each language."""
    for i, found in enumerate(_load("languages.toml").values()):
        for word in found:
            yield word, "", 1 << (int(LANGUAGES_AT) + i)


def concept_words() -> Iterator[Known]:
    """The words and pairs of words of each concept; the last concept of a word counts."""
    concepts = {
        _words(word): number
        for number, found in enumerate(_load("concepts.toml").values())
        for word in found
    }
    for (first, second), number in concepts.items():
        has, at = (PAIR_IN_CONCEPT, PAIR_AT) if second else (IN_CONCEPT, CONCEPT_AT)
        yield first, second, int(has) | number << int(at)


def _words(entry: str) -> tuple[str, str]:
    """The two words of an entry, or one and an empty one."""
    first, _, second = entry.partition("_")
    kind = characters().kind
    if len(first) == 2 and all(kind[ord(character)] == SINGLE for character in first):
        return first[0], first[1]
    return first, second


def known_words(words: Iterable[Known], seed: np.uint64) -> npt.NDArray[np.uint64]:
    """The table of known words, for words hashed with `seed`."""
    found = list(words)
    found += [(first, "", int(OPENS)) for first, second, _ in found if second]
    first, second = Texts.of([each[0] for each in found]), Texts.of([each[1] for each in found])
    buffers = [np.frombuffer(texts.data, np.uint8) for texts in (first, second)]
    places = np.stack([first.starts, first.ends, second.starts, second.ends])
    table = aligned((_SIZE, 2), np.uint64)
    _add(*buffers, places, np.array([each[2] for each in found], np.uint64), seed, table)
    return table


@inner
def _slot(word: Any, table: Any) -> Any:
    """The slot of a word, or a free one; both are uint64."""
    slot = word >> _SHIFT
    while (table[slot, 0] != U(0)) & (table[slot, 0] != word):
        slot = (slot + U(1)) & U(_SIZE - 1)
    return slot


@inner
def traits_of(word: Any, table: Any) -> Any:
    """The traits of a hashed word; both are uint64."""
    return table[_slot(word, table), 1]


@inner
def pair(first: Any, second: Any) -> Any:
    """The hash of two words that follow each other; all are uint64."""
    return first * C1 + second


@entry
def _add(first: Any, second: Any, places: Any, traits: Any, seed: Any, table: Any) -> None:
    """Add the traits of n words or pairs.

    Args:
        first, second: `(size,) uint8`, the words. The second one may be empty.
        places: `(4, n) int64`, offsets where the first and the second one begin and end.
        traits: `(n,) uint64`.
        seed: uint64.
    """
    for i in range(len(traits)):
        word = hash_bytes(first, U(places[0, i]), U(places[1, i]), seed)
        if places[3, i] > places[2, i]:
            word = pair(word, hash_bytes(second, U(places[2, i]), U(places[3, i]), seed))
        slot = _slot(word, table)
        table[slot, 0] = word
        table[slot, 1] |= traits[i]
