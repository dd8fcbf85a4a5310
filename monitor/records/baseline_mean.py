"""The public mean: where the prompts of the public at large lie, and how surely that is known.

A key's deviation is measured from it. It is the mean of feature vectors over all keys, and must not
be dragged: of each key the first 16 prompts of a day teach it, none of a key that is accused; what
is learned fades with a half-life of weeks and stands beside the reference that the deployment
started from. A thousand accounts among a million honest ones move it by a thousandth of the way.

It is known only so well. Keys teach in eight groups; how far the groups' means lie apart tells the
expected squared error of the mean of all (the delete-a-group jackknife; J. Shao and C. F. J. Wu,
Annals of Statistics 17, 1989). `squared_distance` subtracts it, so that a mean from few keys does
not make every key look strange.

Partitions share what they learn through the store. To keep verdicts independent of how the stream
is divided and of who is ahead, a day of event time uses what was learned up to two days before it:
within a day each partition has said its part. Features of words are hashed with the deployment's
secret and so are only ever learned here; the reference that is shipped knows meaning alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.prompts.kernel import MEANING, WORDS
from monitor.sketches.kernel_mean import UNIT

GROUPS = 8
TAUGHT = 16  # prompts of a key and day
DIMENSIONS = MEANING + WORDS
MEMORY_DAYS = 14.0  # half-life of what was learned
LAG = 2  # days before what was learned is used
LEAST = 8.0  # prompts of each group before a mean is said to be known

_EXACT = "<f8"  # of whole numbers, which sums of a day are

Floats = npt.NDArray[np.float64]
_PARTS = {"meaning": slice(0, MEANING), "words": slice(MEANING, DIMENSIONS)}


class Sums(NamedTuple):
    """Sums of feature vectors by group: `(GROUPS, DIMENSIONS) float64`, in units of a feature, and
    the number of prompts in each, `(GROUPS, 2) float64`, of meaning and of words."""

    vectors: Floats
    prompts: Floats

    @classmethod
    def none(cls) -> Sums:
        return cls(np.zeros((GROUPS, DIMENSIONS)), np.zeros((GROUPS, len(_PARTS))))

    def plus(self, other: Sums, factor: float = 1.0) -> Sums:
        """These, and the others times a factor."""
        return Sums(self.vectors + factor * other.vectors, self.prompts + factor * other.prompts)

    def dump(self, each: str = "<f4") -> bytes:
        return np.concatenate([self.vectors, self.prompts], axis=1).astype(each).tobytes()

    @classmethod
    def restored(cls, data: bytes, each: str = "<f4") -> Sums:
        both = np.frombuffer(data, each).reshape(GROUPS, -1).astype(np.float64)
        return cls(both[:, :DIMENSIONS].copy(), both[:, DIMENSIONS:].copy())


class Mean(NamedTuple):
    """A mean `(d,) float64` and its expected squared error, infinite while it is not known."""

    mean: Floats
    uncertainty: float


class _State(msgspec.Struct, array_like=True):
    today: bytes
    learned: list[tuple[int, bytes]]
    pool: bytes


class BaselineMean:
    """What one partition teaches, and what all partitions together know.

    Args:
        reference: what the deployment starts from.

    Attributes:
        today: `Sums` of the day that is not over, updated in place by the kernel.
        learned: what this partition knew at the end of each of its last days, the latest last.
        pool: what is known of the public and in force today.
    """

    def __init__(self, reference: Sums) -> None:
        self.reference = Sums.restored(reference.dump())  # as it comes back from the store
        self.today = Sums.none()
        self.learned: list[tuple[int, Sums]] = []
        self._use(self.reference)

    def turn(self, day: int) -> None:
        """`day` is over."""
        before, past = self.learned[-1] if self.learned else (day, Sums.none())
        ended = self.today.plus(past, 0.5 ** ((day - before) / MEMORY_DAYS))
        self.learned.append((day, Sums.restored(ended.dump())))  # as `dump` keeps it
        del self.learned[: -LAG - 1]
        for part in self.today:
            part[:] = 0.0

    def use(self, day: int, said: Mapping[str, bytes]) -> None:
        """Have in force on `day` what all partitions have said, by their names."""
        pool = self.reference
        for name in sorted(said):
            known = [(d, sums) for d, sums in decode(said[name]) if d <= day - LAG]
            if known:
                last, sums = known[-1]
                pool = pool.plus(sums, 0.5 ** ((day - LAG - last) / MEMORY_DAYS))
        self._use(Sums.restored(pool.dump()))

    def say(self) -> bytes:
        """What this partition has learned, for all to use."""
        return msgspec.msgpack.encode([(day, sums.dump()) for day, sums in self.learned])

    @property
    def keys(self) -> float:
        """About how many days of a key the pool is made of."""
        return float(self.pool.prompts[:, 0].sum() / TAUGHT)

    def _use(self, pool: Sums) -> None:
        self.pool = pool
        self.meaning, self.words = (self._mean(pool, name) for name in _PARTS)

    @staticmethod
    def _mean(pool: Sums, part: str) -> Mean:
        vectors = pool.vectors[:, _PARTS[part]] / UNIT
        prompts = pool.prompts[:, list(_PARTS).index(part)]
        total = prompts.sum()
        mean = vectors.sum(axis=0) / max(total, 1.0)
        if prompts.min() < LEAST:
            return Mean(mean, float("inf"))
        without = (vectors.sum(axis=0) - vectors) / (total - prompts)[:, None]
        spread = float(((without - mean) ** 2).sum())
        return Mean(mean, spread * (GROUPS - 1) / GROUPS)

    def dump(self) -> bytes:
        """For the partition's state."""
        learned = [(day, sums.dump()) for day, sums in self.learned]
        return msgspec.msgpack.encode(_State(self.today.dump(_EXACT), learned, self.pool.dump()))

    def restore(self, data: bytes) -> None:
        """Take up what `dump` gave."""
        state = msgspec.msgpack.decode(data, type=_State)
        self.today = Sums.restored(state.today, _EXACT)
        self.learned = [(day, Sums.restored(sums)) for day, sums in state.learned]
        self._use(Sums.restored(state.pool))


def decode(said: bytes) -> list[tuple[int, Sums]]:
    """What a partition said, day by day."""
    days = msgspec.msgpack.decode(said, type=list[tuple[int, bytes]])
    return [(day, Sums.restored(sums)) for day, sums in days]
