"""The phrase lexicon: which prompts ask for reasoning traces or for grades.

All phrases are matched in one pass by Hyperscan over the buffer that the prompts share.
"""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from importlib import resources
from typing import Any

import hyperscan
import numpy as np
import numpy.typing as npt

from monitor.prompts.normalise import Texts


class Lexicon:
    """Matches prompts against the phrases of every intent.

    >>> from monitor.features.texts import join
    >>> texts = join(["Show your complete chain of thought.", None])
    >>> INTENTS[0], Lexicon().match(texts).tolist()
    ('reasoning', [1, 0])
    """

    def __init__(self) -> None:
        self._database, self._bits = _compiled()

    def match(self, texts: Texts) -> npt.NDArray[np.uint8]:
        """The intents of n prompts, `(n,) uint8`: bit i is set for `INTENTS[i]`.

        All prompts are one text to Hyperscan, which leaves Python to other threads meanwhile; no
        expression reaches across the border between two.
        """
        found: list[tuple[int, int]] = []
        self._database.scan(texts.data, match_event_handler=_note, context=found)
        intents = np.zeros(len(texts.ends), np.uint8)
        if found:
            expressions, ends = np.array(found, np.int64).T
            where = np.searchsorted(texts.ends, ends)
            np.bitwise_or.at(intents, where, self._bits[expressions])
        return intents


def _note(expression: int, _start: int, end: int, _flags: int, found: Any) -> None:
    found.append((expression, end))


@lru_cache(1)
def _compiled() -> tuple[hyperscan.Database, npt.NDArray[np.uint8]]:
    """The lexicon as a database, and for each of its expressions the bit of its intent."""
    text = resources.files("monitor.prompts").joinpath("lexicon.toml").read_text("utf-8")
    document: dict[str, Any] = tomllib.loads(text)
    expressions, bits = [], []
    for name, intent in document["intents"].items():
        for pattern in intent["patterns"]:
            for macro, meaning in document["macros"].items():
                pattern = pattern.replace("{" + macro + "}", meaning)
            expressions.append(re.sub(" +", r"\\s+", pattern).encode())
            bits.append(1 << INTENTS.index(name))
    database = hyperscan.Database()
    database.compile(
        expressions=expressions,
        ids=list(range(len(expressions))),
        flags=hyperscan.HS_FLAG_CASELESS,
    )
    return database, np.array(bits, np.uint8)


INTENTS = ("reasoning", "grading")
