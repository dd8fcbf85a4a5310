"""The text parts of a batch of requests, as columns: see `turns.py` for what parts are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.kernels.buffers import Prompts
from monitor.requests.turns import ASSISTANT, SYSTEM, Part

Integers = npt.NDArray[np.int64]

LAST_TURN = 8  # added to the kind of a part in the client's last turn
KIND = LAST_TURN - 1  # the bits of the kind itself


class Parts(NamedTuple):
    """The p parts of n requests.

    Attributes:
        data: `(size,) uint8`, the texts as UTF-8 in any order, followed by `PADDING`.
        places: `(p, 2) int64`, byte offsets where each text begins and ends.
        kinds: `(p,) uint8`, kind of each part, plus LAST_TURN for those of the last turn.
        hashes: `(p,) uint64`, keyed hash of each text, never 0.
        ranges: `(n, 2) int64`, index of the first part of each request, and of the last plus one.
    """

    data: npt.NDArray[np.uint8]
    places: Integers
    kinds: npt.NDArray[np.uint8]
    hashes: npt.NDArray[np.uint64]
    ranges: Integers

    @classmethod
    def of(cls, requests: Sequence[Sequence[Part]]) -> Parts:
        """The parts of n requests, whose hashes are not computed yet."""
        parts = list(chain.from_iterable(requests))
        texts = Prompts.of([part.text for part in parts])
        ends = np.cumsum([0, *map(len, requests)])
        kinds = list(chain.from_iterable(map(_kinds, requests)))
        return cls(
            texts.data,
            texts.places,
            np.array(kinds, np.uint8),
            np.zeros(len(parts), np.uint64),
            np.stack([ends[:-1], ends[1:]], axis=1),
        )

    def take(self, which: Integers) -> Parts:
        """The parts of the requests at the indices `which`, `(m,) int64`."""
        return self._replace(ranges=self.ranges[which])

    def followed_by(self, other: Parts) -> Parts:
        """The parts of these requests and of other ones."""
        return Parts(
            np.concatenate([self.data, other.data]),
            np.concatenate([self.places, other.places + len(self.data)]),
            np.concatenate([self.kinds, other.kinds]),
            np.concatenate([self.hashes, other.hashes]),
            np.concatenate([self.ranges, other.ranges + len(self.kinds)]),
        )

    def sizes(self, kind: int | None = None) -> Integers:
        """`(n,) int64`, bytes of each request's parts, or of those of one kind."""
        sizes = self.places[:, 1] - self.places[:, 0]
        if kind is not None:
            sizes = np.where(self.kinds & KIND == kind, sizes, 0)
        sums = np.concatenate([[0], np.cumsum(sizes)])
        return np.asarray(sums[self.ranges[:, 1]] - sums[self.ranges[:, 0]])


def _kinds(parts: Sequence[Part]) -> list[int]:
    """The kind of each part of a request, plus LAST_TURN where it applies."""
    spoken = {part.kind for part in parts} - {SYSTEM, ASSISTANT} or {SYSTEM}
    last = max((part.turn for part in parts if part.kind in spoken), default=0)
    return [part.kind + LAST_TURN * (part.turn == last and part.kind in spoken) for part in parts]
