"""The phrase lexicon: finds prompts that ask for reasoning traces or for grades.

Hyperscan matches all phrases in one pass over the prompts that have a trigger: a word of a phrase,
found by the feature kernel, which reads every word anyway. A phrase may also stand in a quiz, a
review form or a document. So it counts only in prompts that the content model finds at least as
similar to requests of its kind as ordinary prompts are on average.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from importlib import resources
from typing import Any

import hyperscan
import numpy as np
import numpy.typing as npt

from monitor.kernels.expressions import database
from monitor.prompts.normalise import BORDER, Texts
from monitor.prompts.projection import LISTS, SHARES
from monitor.prompts.vocabulary import TRIGGER, Known

INTENTS = ("reasoning", "grading")
INTENT_LISTS = ("cot", "grader")  # of LISTS, in the order of INTENTS


class Lexicon:
    """Matches prompts against the phrases of every intent.

    >>> texts = Texts.of(["Show your complete chain of thought.", None])
    >>> INTENTS[0], Lexicon().match(texts).tolist()
    ('reasoning', [1, 0])
    """

    def __init__(self) -> None:
        self._database, self._bits = _compiled()

    def match(
        self, texts: Texts, triggered: npt.NDArray[np.bool_] | None = None
    ) -> npt.NDArray[np.uint8]:
        """The intents of n prompts, `(n,) uint8`: bit i is set for `INTENTS[i]`.

        Hyperscan sees one text and releases the interpreter lock; no expression matches across
        the border between two prompts.

        Args:
            texts: the prompts.
            triggered: `(n,) bool`, see `Features`; by default all prompts are searched.
        """
        if triggered is not None:
            return self._match_some(texts, np.flatnonzero(triggered | (texts.stops > texts.ends)))
        found: list[tuple[int, int]] = []
        self._database.scan(texts.data, match_event_handler=_record_match, context=found)
        intents = np.zeros(len(texts.stops), np.uint8)
        if found:
            expressions, ends = np.array(found, np.int64).T
            where = np.searchsorted(texts.stops, ends)
            np.bitwise_or.at(intents, where, self._bits[expressions])
        return intents

    def _match_some(self, texts: Texts, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """The intents of n prompts, of which only those at the indices `chosen` are searched."""
        starts, stops = texts.starts[chosen], texts.stops[chosen]
        parts = [texts.data[a:b] for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]
        sizes = stops - starts + len(BORDER)
        ends = np.cumsum(sizes)
        data = BORDER.join([*parts, b""])
        some = Texts(data, ends - sizes, ends - len(BORDER), ends - len(BORDER), texts.lengths)
        intents = np.zeros(len(texts.stops), np.uint8)
        intents[chosen] = self.match(some)
        return intents


def trigger_words() -> Iterator[Known]:
    """The triggers: words, and pairs of words that follow each other."""
    for words in _document()["triggers"].values():
        for trigger in words.split():
            first, _, second = trigger.partition("_")
            yield first, second, int(TRIGGER)


def confirmed(
    intents: npt.NDArray[np.uint8], lists: npt.NDArray[np.float32]
) -> npt.NDArray[np.uint8]:
    """The intents of n prompts whose scores do not contradict them, `(n,) uint8`.

    Args:
        intents: `(n,) uint8`, from `Lexicon.match`.
        lists: `(n, len(LISTS) * len(SHARES)) float32`, see `Features`.
    """
    columns = [LISTS.index(kind) * len(SHARES) for kind in INTENT_LISTS]
    bits = np.uint8(1) << np.arange(len(INTENTS), dtype=np.uint8)
    return np.asarray(intents & ((lists[:, columns] > 0.0) * bits).sum(axis=1, dtype=np.uint8))


def _record_match(expression: int, _start: int, end: int, _flags: int, found: Any) -> None:
    found.append((expression, end))


def patterns() -> Iterator[tuple[str, str]]:
    """The regular expressions, each with its intent."""
    document = _document()
    for name, intent in document["intents"].items():
        for pattern in intent["patterns"]:
            for macro, meaning in document["macros"].items():
                pattern = pattern.replace("{" + macro + "}", meaning)
            yield name, re.sub(" +", r"\\s+", pattern)


@lru_cache(1)
def _document() -> dict[str, Any]:
    text = resources.files("monitor.prompts").joinpath("lexicon.toml").read_text("utf-8")
    return tomllib.loads(text)


@lru_cache(1)
def _compiled() -> tuple[hyperscan.Database, npt.NDArray[np.uint8]]:
    """The compiled lexicon, and `(expressions,) uint8`, the bit of each expression's intent."""
    names, expressions = zip(*patterns(), strict=True)
    bits = [1 << INTENTS.index(name) for name in names]
    return database(expressions), np.array(bits, np.uint8)
