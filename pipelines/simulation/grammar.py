"""Sentences from rules: the words of simulated traffic.

A rule is a list of options of which one is taken at random. In an option `«name»` stands for a
sentence of the rule of that name, `«3..9»` for a number from 3 to 9, and `«name*3..9»` for three
to nine sentences of the rule in a row; those come from a pool made once, which makes long
documents cheap.

>>> from random import Random
>>> Grammar({"greeting": ["Good «time»!"], "time": ["morning"]}).say("greeting", Random(1))
'Good morning!'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from random import Random

_SLOT = re.compile(r"«([^»]*)»")
_POOL = 512  # sentences

Draw = Callable[[], float]  # in [0, 1), as Random.random
Saying = Callable[[Draw], str]


class Grammar:
    """Rules, ready to be said."""

    def __init__(self, rules: Mapping[str, Sequence[str]]) -> None:
        self.rules: dict[str, Saying] = {}
        self._pools: dict[str, list[str]] = {}
        for name, options in rules.items():
            self.rules[name] = _choice([self._option(option) for option in options])

    def say(self, rule: str, random: Random) -> str:
        """One sentence of the rule."""
        return self.rules[rule](random.random)

    def _option(self, text: str) -> Saying | str:
        if "«" not in text:
            return text
        # re.split gives text and slots by turns.
        parts = [self._slot(p) if at % 2 else p for at, p in enumerate(_SLOT.split(text))]
        return lambda draw: "".join([p if isinstance(p, str) else p(draw) for p in parts])

    def _slot(self, text: str) -> Saying:
        name, _, repeat = text.partition("*")
        if repeat:
            return self._several(name, *_bounds(repeat))
        if ".." in name:
            low, width = _bounds(name)
            return lambda draw: str(low + int(draw() * width))
        return lambda draw: self.rules[name](draw)

    def _several(self, name: str, low: int, width: int) -> Saying:
        def say(draw: Draw) -> str:
            pool = self._pools.get(name) or self._pool(name)
            size = len(pool)
            first, step = int(draw() * size), 1 + int(draw() * (size - 1))
            count = low + int(draw() * width)
            return " ".join([pool[(first + at * step) % size] for at in range(count)])

        return say

    def _pool(self, name: str) -> list[str]:
        draw = Random(name).random
        sentences = dict.fromkeys(self.rules[name](draw) for _ in range(_POOL))
        self._pools[name] = list(sentences)
        return self._pools[name]


def _choice(options: Sequence[Saying | str]) -> Saying:
    count = len(options)

    def say(draw: Draw) -> str:
        option = options[int(draw() * count)]
        return option if isinstance(option, str) else option(draw)

    return say


def _bounds(text: str) -> tuple[int, int]:
    """Lowest number and how many there are."""
    low, _, high = text.partition("..")
    return int(low), int(high) - int(low) + 1
