"""Random text from rules, for simulated traffic.

A rule is a list of options; one is chosen at random. In an option, `«name»` stands for a text of
the rule with that name, `«3..9»` for a number from 3 to 9, and `«name*3..9»` for 3 to 9 texts of
the rule, joined by spaces. The repeated texts come from a pool generated once per rule, which
makes long documents cheap.

>>> from random import Random
>>> Grammar({"greeting": ["Good «time»!"], "time": ["morning"]}).generate("greeting", Random(1))
'Good morning!'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from random import Random

_SLOT = re.compile(r"«([^»]*)»")
_POOL_SIZE = 512  # texts, before duplicates are dropped

Draw = Callable[[], float]  # in [0, 1), as Random.random
Generator = Callable[[Draw], str]


class Grammar:
    """Compiled rules.

    Args:
        rules: the options of each rule.
    """

    def __init__(self, rules: Mapping[str, Sequence[str]]) -> None:
        self.rules: dict[str, Generator] = {}
        self._pools: dict[str, list[str]] = {}
        for name, options in rules.items():
            self.rules[name] = _choice([self._compile(option) for option in options])

    def generate(self, rule: str, random: Random) -> str:
        """One text of a rule."""
        return self.rules[rule](random.random)

    def _compile(self, option: str) -> Generator | str:
        if "«" not in option:
            return option
        # re.split alternates between text and slots.
        parts = [self._slot(p) if at % 2 else p for at, p in enumerate(_SLOT.split(option))]
        return lambda draw: "".join([p if isinstance(p, str) else p(draw) for p in parts])

    def _slot(self, slot: str) -> Generator:
        name, _, repeat = slot.partition("*")
        if repeat:
            return self._repeat(name, *_bounds(repeat))
        if ".." in name:
            low, width = _bounds(name)
            return lambda draw: str(low + int(draw() * width))
        return lambda draw: self.rules[name](draw)

    def _repeat(self, name: str, low: int, width: int) -> Generator:
        def generate(draw: Draw) -> str:
            pool = self._pools.get(name) or self._fill_pool(name)
            size = len(pool)
            first, step = int(draw() * size), 1 + int(draw() * (size - 1))
            count = low + int(draw() * width)
            return " ".join([pool[(first + at * step) % size] for at in range(count)])

        return generate

    def _fill_pool(self, name: str) -> list[str]:
        draw = Random(name).random
        texts = dict.fromkeys(self.rules[name](draw) for _ in range(_POOL_SIZE))
        self._pools[name] = list(texts)
        return self._pools[name]


def _choice(options: Sequence[Generator | str]) -> Generator:
    count = len(options)

    def generate(draw: Draw) -> str:
        option = options[int(draw() * count)]
        return option if isinstance(option, str) else option(draw)

    return generate


def _bounds(text: str) -> tuple[int, int]:
    """The lowest number of "low..high", and how many numbers there are."""
    low, _, high = text.partition("..")
    return int(low), int(high) - int(low) + 1
