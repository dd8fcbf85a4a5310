"""The baseline mean: where the prompts of ordinary keys lie, and how precisely that is known.

A key's deviation is measured from this mean, so nobody may shift it at will. Each key contributes
the first 16 prompts of a day, and a flagged key none. What was learned fades with a half-life of
two weeks and is added to the reference that the deployment started from. A thousand accounts among
a million honest ones move the mean by a thousandth of the distance.

Keys contribute to one of eight groups. The spread of the groups' means gives the expected squared
error of the mean over all of them (delete-a-group jackknife; J. Shao and C. F. J. Wu, Annals of
Statistics 17, 1989). `KernelMeans.squared_distance` subtracts that error, so that a mean learned
from few keys does not make every key look unusual.

Partitions share what they learned through the store. Results must depend neither on how the stream
is partitioned nor on which worker is ahead. So a day of event time uses what was learned up to two
days before it: by then every partition has published.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.errors import StoreRefusedError
from monitor.prompts.kernel import MEANING
from monitor.sketches.kernel_mean import UNIT

GROUPS = 8
PROMPTS_PER_DAY = 16  # that a key contributes
_HALF_LIFE_DAYS = 14.0
LAG_DAYS = 2  # before what was learned is used
MIN_GROUP_PROMPTS = 8.0  # of each group, or the mean counts as unknown

_EXACT = "<f8"  # for the day's sums, which are whole numbers
# Until record version 3 the sums also covered 32 components of hashed words, and a second count.
_MEANING_AND_WORDS = MEANING + 32

Floats = npt.NDArray[np.float64]


class Sums(NamedTuple):
    """Sums of feature vectors by group.

    Attributes:
        vectors: `(GROUPS, MEANING) float64`, in steps of 1 / UNIT.
        prompts: `(GROUPS,) float64`, number of prompts.
    """

    vectors: Floats
    prompts: Floats

    @classmethod
    def empty(cls) -> Sums:
        """The sums of no prompts."""
        return cls(np.zeros((GROUPS, MEANING)), np.zeros(GROUPS))

    def plus(self, other: Sums, factor: float = 1.0) -> Sums:
        """These sums plus `factor` times the others."""
        return Sums(self.vectors + factor * other.vectors, self.prompts + factor * other.prompts)

    def to_bytes(self, dtype: str = "<f4") -> bytes:
        """The sums as an array `(GROUPS, MEANING + 1)` of `dtype`."""
        return np.column_stack([self.vectors, self.prompts]).astype(dtype).tobytes()

    @classmethod
    def from_bytes(cls, data: bytes, dtype: str = "<f4") -> Sums:
        """Read what `to_bytes` returned, in this or an earlier version."""
        rows = np.frombuffer(data, dtype).reshape(GROUPS, -1).astype(np.float64)
        prompts = MEANING if rows.shape[1] == MEANING + 1 else _MEANING_AND_WORDS
        return cls(rows[:, :MEANING].copy(), rows[:, prompts].copy())


Learned = list[tuple[int, Sums]]  # days, and the sums at the end of each


class Mean(NamedTuple):
    """A mean `(d,) float64` and its expected squared error, infinite if the mean is unknown."""

    mean: Floats
    uncertainty: float


class _State(msgspec.Struct, array_like=True):
    today: bytes
    learned: list[tuple[int, bytes]]
    pool: bytes


class BaselineMean:
    """What one partition learns, and what all partitions together know.

    Args:
        reference: what the deployment starts from.

    Attributes:
        today: `Sums` of the current day, updated in place by the kernel.
        learned: day and sums at the end of each of the last days, the latest last.
        pool: the sums in use today, of all partitions and the reference.
        meaning: the mean embedding of ordinary prompts, from `pool`.
    """

    def __init__(self, reference: Sums) -> None:
        self.reference = Sums.from_bytes(reference.to_bytes())  # rounded as in the store
        self.today = Sums.empty()
        self.learned: Learned = []
        self._use(self.reference)

    def end_day(self, day: int) -> None:
        """Add the sums of `day`, which is over, to what was learned."""
        before, past = self.learned[-1] if self.learned else (day, Sums.empty())
        ended = self.today.plus(past, 0.5 ** ((day - before) / _HALF_LIFE_DAYS))
        self.learned.append((day, Sums.from_bytes(ended.to_bytes())))  # rounded as in the store
        del self.learned[: -LAG_DAYS - 1]
        for part in self.today:
            part[:] = 0.0

    def apply(self, day: int, published: Mapping[str, Learned]) -> None:
        """Use on `day` what all partitions have published.

        Args:
            published: what each partition has learned, by its name.
        """
        pool = self.reference
        for name in sorted(published):
            usable = [(d, sums) for d, sums in published[name] if d <= day - LAG_DAYS]
            if usable:
                last, sums = usable[-1]
                pool = pool.plus(sums, 0.5 ** ((day - LAG_DAYS - last) / _HALF_LIFE_DAYS))
        self._use(Sums.from_bytes(pool.to_bytes()))

    def publish(self) -> bytes:
        """What this partition has learned, for all partitions to use."""
        return msgspec.msgpack.encode([(day, sums.to_bytes()) for day, sums in self.learned])

    @property
    def key_days(self) -> float:
        """Approximate number of key-days in the pool."""
        return float(self.pool.prompts.sum() / PROMPTS_PER_DAY)

    def _use(self, pool: Sums) -> None:
        self.pool = pool
        self.meaning = _mean(pool)

    def snapshot(self) -> bytes:
        """The state as bytes, for the partition's state."""
        learned = [(day, sums.to_bytes()) for day, sums in self.learned]
        state = _State(self.today.to_bytes(_EXACT), learned, self.pool.to_bytes())
        return msgspec.msgpack.encode(state)

    def restore(self, data: bytes) -> None:
        """Restore what `snapshot` returned."""
        state = msgspec.msgpack.decode(data, type=_State)
        self.today = Sums.from_bytes(state.today, _EXACT)
        self.learned = [(day, Sums.from_bytes(sums)) for day, sums in state.learned]
        self._use(Sums.from_bytes(state.pool))


def decode(published: Mapping[str, bytes]) -> dict[str, Learned]:
    """What partitions have published, by name; an empty list before a first day is over.

    Raises:
        StoreRefusedError: if one of them is unreadable.
    """
    return {name: _decode(name, data) for name, data in published.items()}


def _decode(name: str, data: bytes) -> Learned:
    try:
        days = msgspec.msgpack.decode(data, type=list[tuple[int, bytes]])
        return [(day, Sums.from_bytes(sums)) for day, sums in days]
    except (msgspec.MsgspecError, ValueError, IndexError) as error:
        raise StoreRefusedError(
            f"The baseline of {name} in the store is unreadable ({error}): run all workers with "
            "the newest release that has written to this store."
        ) from error


def _mean(pool: Sums) -> Mean:
    vectors = pool.vectors / UNIT
    total = pool.prompts.sum()
    mean = vectors.sum(axis=0) / max(total, 1.0)
    if pool.prompts.min() < MIN_GROUP_PROMPTS:
        return Mean(mean, float("inf"))
    without = (vectors.sum(axis=0) - vectors) / (total - pool.prompts)[:, None]
    spread = float(((without - mean) ** 2).sum())
    return Mean(mean, spread * (GROUPS - 1) / GROUPS)
