"""Folds of sources: each source of prompts, attack list or ordinary, is in one part of N."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tests.benchmarks.quality.field.days import DayResult


@dataclass(frozen=True, slots=True)
class Fold:
    """Part `index` of `count`, from 1."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Fold:
        """From "K/N"."""
        index, count = map(int, text.split("/"))
        return cls(index, count)

    def __contains__(self, source: str) -> bool:
        return Random(f"{source}/{self.count}").randrange(self.count) + 1 == self.index

    def of(self, result: DayResult) -> DayResult:
        """The results of the keys whose source is in this part."""
        keys = {key: each for key, each in result.keys.items() if each.source in self}
        return result._replace(keys=keys)
