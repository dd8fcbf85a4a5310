"""Fingerprints that wait for a round, in the order in which they arrived."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from monitor.campaigns.fingerprint import FINGERPRINT, Fingerprints

Integers = npt.NDArray[np.int64]
_Part = tuple[Fingerprints, list[str], Integers]


class Held:
    """Fingerprints, their keys and the offsets of their messages.

    A snapshot of the linker does not contain them. It names the offset of the first one instead,
    and a successor reads them again.

    Attributes:
        first_ts: the earliest event time, epoch seconds; infinite if there is none.
    """

    def __init__(self) -> None:
        self._parts: list[_Part] = []
        self._count = 0
        self.first_ts = math.inf

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"Held({len(self)} fingerprints)"

    @property
    def first_offset(self) -> int | None:
        """The lowest offset; `None` if there is none."""
        return int(self._parts[0][2][0]) if self._parts else None

    def add(self, fingerprints: Fingerprints, keys: list[str], offsets: Integers) -> None:
        """Add n fingerprints, `(n,) FINGERPRINT`, with n keys and `(n,) int64` rising offsets."""
        if keys:
            self._parts.append((fingerprints, keys, offsets))
            self._count += len(keys)
            self.first_ts = min(self.first_ts, float(fingerprints["ts"].min()))

    def take(self, before: float) -> tuple[Fingerprints, list[str]]:
        """Remove those with an event time before this one, and return them and their keys."""
        if self.first_ts >= before:
            return np.empty(0, FINGERPRINT), []
        taken = [self._remove(part, part[0]["ts"] < before) for part in self._clear()]
        fingerprints = np.concatenate([fingerprints for fingerprints, _ in taken])
        return fingerprints, [key for _, keys in taken for key in keys]

    def forget(self, keys: Sequence[str]) -> None:
        """Remove the fingerprints of some keys."""
        gone = frozenset(keys)
        for part in self._clear():
            self._remove(part, np.array([key in gone for key in part[1]], bool))

    def _clear(self) -> list[_Part]:
        parts, self._parts, self._count, self.first_ts = self._parts, [], 0, math.inf
        return parts

    def _remove(self, part: _Part, which: npt.NDArray[np.bool_]) -> tuple[Fingerprints, list[str]]:
        """Take the fingerprints where `which`, `(n,) bool`, is true; the others stay."""
        fingerprints, keys, offsets = part
        rest = [keys[i] for i in np.flatnonzero(~which).tolist()]
        self.add(fingerprints[~which], rest, offsets[~which])
        return fingerprints[which], [keys[i] for i in np.flatnonzero(which).tolist()]
