"""The phrase lexicon: which prompts ask for reasoning traces or for grades.

All phrases are matched in one pass by Hyperscan. A prompt beyond 16 KiB is matched in its first
and last 8 KiB: whoever wraps a document in an instruction puts it before or after.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from functools import lru_cache
from importlib import resources
from typing import Any

import hyperscan
import numpy as np
import numpy.typing as npt

from monitor.sketches.profile import INTENTS

_END = 8192
_BORDER = b"\n.\n"  # no expression reaches across it


class Lexicon:
    """Matches prompts against the phrases of every intent.

    >>> INTENTS[0], Lexicon().match(["Show your complete chain of thought.", None]).tolist()
    ('reasoning', [1, 0])
    """

    def __init__(self) -> None:
        self._database, self._bits = _compiled()

    def match(self, prompts: Iterable[str | None]) -> npt.NDArray[np.uint8]:
        """The intents of n prompts, `(n,) uint8`: bit i is set for `INTENTS[i]`.

        All prompts are one text to Hyperscan, which leaves Python to other threads meanwhile.
        """
        texts = [_ends(prompt).encode("utf-8", "replace") if prompt else b"" for prompt in prompts]
        found: list[tuple[int, int]] = []
        self._database.scan(_BORDER.join(texts), match_event_handler=_note, context=found)
        intents = np.zeros(len(texts), np.uint8)
        if found:
            lengths = np.fromiter(map(len, texts), np.int64, len(texts)) + len(_BORDER)
            expressions, ends = np.array(found, np.int64).T
            where = np.searchsorted(np.cumsum(lengths), ends)
            np.bitwise_or.at(intents, where, self._bits[expressions])
        return intents


def _ends(prompt: str) -> str:
    return prompt if len(prompt) <= 2 * _END else f"{prompt[:_END]}\n{prompt[-_END:]}"


def _note(expression: int, _start: int, end: int, _flags: int, found: Any) -> None:
    found.append((expression, end))


@lru_cache(1)
def _compiled() -> tuple[hyperscan.Database, npt.NDArray[np.uint8]]:
    """The lexicon as a database, and for each of its expressions the bit of its intent."""
    text = resources.files("monitor.features").joinpath("lexicon.toml").read_text("utf-8")
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
