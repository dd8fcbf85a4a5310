"""Folds of sources: every source of prompts, attack list or ordinary, is in one of N parts.

A list and the ordinary texts of one data set (`NAME-list` and `NAME`) are in the same part. Some
ordinary keys mix prompts of several sources, and their labels name none of them. They are in a part
by name, and their prompts are not left out of learning.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import msgspec

from tests.benchmarks.quality.field.days import DayResult


class _Source(msgspec.Struct):
    kind: str


class _Corpora(msgspec.Struct):
    sources: dict[str, _Source] = {}


@dataclass(frozen=True, slots=True)
class Fold:
    """A part of the sources.

    Attributes:
        name: "K/N".
        without: its sources.
        known: the sources of all parts.
    """

    name: str
    without: frozenset[str]
    known: frozenset[str]

    def of(self, result: DayResult) -> DayResult:
        """The results of the keys whose source is in this part, and of campaigns of such keys."""
        index, count = map(int, self.name.split("/"))
        keys = {}
        for key, each in result.keys.items():
            dealt = Random(each.source or each.kind).randrange(count) + 1 == index
            if each.source in self.without if each.source in self.known else dealt:
                keys[key] = each
        return replace(result, keys=keys)


def fold_of(corpora: Path, name: str) -> Fold:
    """Part "K/N" of the sources in a file of corpora."""
    index, count = map(int, name.split("/"))
    with gzip.open(corpora) as file:
        sources = msgspec.json.decode(file.read(), type=_Corpora).sources
    families: dict[str, list[str]] = {}
    for source in sorted(sources):
        families.setdefault(source.removesuffix("-list"), []).append(source)
    without: set[str] = set()
    for attack in (True, False):
        group = [
            name
            for name, members in families.items()
            if attack == any(sources[each].kind == "attack" for each in members)
        ]
        Random(1).shuffle(group)
        without.update(each for name in group[index - 1 :: count] for each in families[name])
    return Fold(name, frozenset(without), frozenset(sources))
