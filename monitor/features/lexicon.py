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

from monitor.sketches.profile import INTENTS

_END = 8192


class Lexicon:
    """Matches prompts against the phrases of every intent.

    >>> INTENTS[0], Lexicon().match("Show your complete chain of thought.")
    ('reasoning', 1)
    """

    def __init__(self) -> None:
        self._database, self._bit = _compiled()

    def match(self, prompt: str) -> int:
        """The intents of a prompt: bit i is set for `INTENTS[i]`."""
        found: list[int] = []
        self._scan(prompt, found)
        return self._intents(found)

    def match_all(self, prompts: Iterable[str | None]) -> list[int]:
        """The intents of many prompts; 0 for those that are absent."""
        found: list[int] = []
        marks = []
        for prompt in prompts:
            if prompt:
                self._scan(prompt, found)
            if found:
                marks.append(self._intents(found))
                found.clear()
            else:
                marks.append(0)
        return marks

    def _scan(self, prompt: str, found: list[int]) -> None:
        if len(prompt) > 2 * _END:
            prompt = prompt[:_END] + "\n" + prompt[-_END:]
        self._database.scan(
            prompt.encode("utf-8", "replace"), match_event_handler=_note, context=found
        )

    def _intents(self, found: list[int]) -> int:
        bits = 0
        for expression in found:
            bits |= self._bit[expression]
        return bits


def _note(expression: int, _start: int, _end: int, _flags: int, found: Any) -> None:
    found.append(expression)


@lru_cache(1)
def _compiled() -> tuple[hyperscan.Database, list[int]]:
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
        flags=hyperscan.HS_FLAG_CASELESS | hyperscan.HS_FLAG_SINGLEMATCH,
    )
    return database, bits
