"""The population: what is known of every key that may be part of a campaign, as columns.

A key's row is its latest fingerprint and the identifiers that its earlier ones showed; the row's
bytes are what Redis keeps. From it follow the numbers by which keys are held against each other
(`Traits`). Keys that have not been heard of for two days leave; when there is no more room, so do
those that have been silent for the longest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.campaigns.fingerprint import (
    COUNTED,
    FINGERPRINT,
    IDENTIFIERS,
    LAYOUTS,
    Fingerprints,
    migrated,
)
from monitor.errors import StoreRefusedError
from monitor.prompts.projection import CONTENT, LISTS, SCALE
from monitor.records.profile import DAY, HOUR, LONG
from monitor.sketches import hyperloglog
from monitor.sketches.kernel_mean import HALF_LIVES, KernelMeans

KEPT = 2.0 * DAY  # seconds that a silent key is remembered
SEEN = 3  # different values of an identifier that are remembered of a key

ROW = np.dtype(
    [
        ("said", FINGERPRINT),
        ("seen", "<u8", (len(IDENTIFIERS), SEEN)),  # its identifiers, the newest first
        ("number", "<u8"),  # keys in the order in which they came
    ]
)
_FIRST = 64

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Rows = npt.NDArray[np.void]


class Traits(NamedTuple):
    """Numbers of n keys, `(n,) float64` each.

    Attributes:
        strength: how far the mean prompt is from the public's, in standard deviations.
        born: when the key was first seen, epoch seconds.
        pace: log2 of requests an hour.
        even: how unevenly hours are filled, beyond chance, log2; a queue fills them evenly, people
            come in sessions. NaN where it cannot be told.
        variety: log2 of prompts to a template.
        nats: the surprise at what detectors say of the key.
    """

    strength: Floats
    born: Floats
    pace: Floats
    even: Floats
    variety: Floats
    nats: Floats


class Population:
    """Rows by key.

    Args:
        most: keys that are remembered at the most.

    Attributes:
        keys: whose each row is.
        rows: `(n,) ROW`.
        direction: `(n, CONTENT) float32`, unit vectors: which way the key's prompts deviate.
        lists: `(n, len(LISTS)) float64`, log2 of the likeness to work lists.
        traits: see above.
        changed: the keys whose rows are not in the store.
        gone: those that left and may still be there.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.keys: list[str] = []
        self._index: dict[str, int] = {}
        self._room = np.zeros(_FIRST, ROW)
        self.changed: set[str] = set()
        self.gone: set[str] = set()
        self._codes: dict[str, Integers] = {}
        self._number = 0
        self._stale = np.zeros(_FIRST, bool)  # rows from which nothing has been derived yet
        self._direction = np.zeros((_FIRST, CONTENT), np.float32)
        self._lists = np.zeros((_FIRST, len(LISTS)))
        self._traits = np.zeros((len(Traits._fields), _FIRST))

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        return f"Population({len(self)} keys)"

    @property
    def rows(self) -> Rows:
        return self._room[: len(self)]

    def index(self, key: str) -> int | None:
        """The row of a key."""
        return self._index.get(key)

    def rows_of(self, keys: Iterable[str]) -> Integers:
        """The rows of those keys that are here, in their order."""
        return np.array([at for key in keys if (at := self._index.get(key)) is not None], np.int64)

    def take(self, said: Fingerprints, keys: Sequence[str]) -> None:
        """Take fingerprints in, oldest first; one that is older than what is known says nothing."""
        self._codes.clear()
        at = np.array([self._place(key) for key in keys], np.int64)
        order = np.argsort(at, kind="stable")
        # Of a key that speaks more than once, the first time of all before the second of any.
        first = np.flatnonzero(np.diff(at[order], prepend=-1))
        turn = np.arange(len(at)) - np.repeat(first, np.diff(first, append=len(at)))
        for n in range(int(turn.max(initial=-1)) + 1):
            which = order[turn == n]
            which = which[said["ts"][which] >= self._room["said"]["ts"][at[which]]]
            self._room["said"][at[which]] = said[which]
            self._show(at[which], said["ids"][which])
        self._stale[at] = True
        self.changed.update(keys)

    def _show(self, rows: Integers, ids: npt.NDArray[np.uint64]) -> None:
        """Remember identifiers of different rows, `(n, len(IDENTIFIERS))`, that are new to them."""
        seen = self._room["seen"][rows]
        new = (ids != 0) & (seen != ids[:, :, None]).all(axis=2)
        seen[new, 1:] = seen[new, :-1]
        seen[new, 0] = ids[new]
        self._room["seen"][rows] = seen

    def load(self, rows: Mapping[str, bytes]) -> None:
        """Take up rows that the store has kept."""
        known = {key: _row(data) for key, data in rows.items()}
        for key in sorted(known, key=lambda key: int(known[key]["number"])):
            at = self._place(key)
            self._room[at], self._stale[at] = known[key], True
            self._number = int(known[key]["number"]) + 1

    def dump(self) -> dict[str, bytes | None]:
        """The rows that the store does not have, `None` for those that it should not."""
        out: dict[str, bytes | None] = dict.fromkeys(self.gone)
        out |= {key: self._room[self._index[key]].tobytes() for key in self.changed}
        self.changed, self.gone = set(), set()
        return out

    def rollback(self, rows: Mapping[str, bytes | None]) -> None:
        """What was dumped is not in the store after all."""
        self.changed |= {key for key in rows if key in self._index}
        self.gone |= rows.keys() - self._index.keys()

    def expire(self, now: float, held: Iterable[str]) -> None:
        """Forget who has been silent for long, except those that are held."""
        ts = self.rows["said"]["ts"]
        over = len(self) - self._most
        limit = now - KEPT
        if over > 0:
            limit = max(limit, float(np.partition(ts, over - 1)[over - 1]))
        silent = ts <= limit
        silent[[at for key in held if (at := self._index.get(key)) is not None]] = False
        if not silent.any():
            return
        kept = np.flatnonzero(~silent)
        self._codes.clear()
        leaving = {self.keys[i] for i in np.flatnonzero(silent).tolist()}
        self.gone |= leaving
        self.changed -= leaving
        self._derive()
        for array in (self._room, self._direction, self._lists):
            array[: len(kept)] = array[kept]
        self._traits[:, : len(kept)] = self._traits[:, kept]
        self.keys = [self.keys[i] for i in kept.tolist()]
        self._index = {key: i for i, key in enumerate(self.keys)}

    @property
    def direction(self) -> npt.NDArray[np.float32]:
        self._derive()
        return self._direction[: len(self)]

    @property
    def lists(self) -> Floats:
        self._derive()
        return self._lists[: len(self)]

    @property
    def traits(self) -> Traits:
        self._derive()
        return Traits(*self._traits[:, : len(self)])

    def codes(self, identifier: str) -> Integers:
        """Numbers that stand for the values of an identifier, `(n, SEEN) int64`, 0 for none."""
        found = self._codes.get(identifier)
        if found is None:
            values = self.rows["seen"][:, IDENTIFIERS.index(identifier)]
            found = self._codes[identifier] = np.zeros(values.shape, np.int64)
            some = values != 0
            found[some] = np.unique(values[some], return_inverse=True)[1] + 1
        return found

    def _place(self, key: str) -> int:
        at = self._index.get(key)
        if at is None:
            at = self._index[key] = len(self.keys)
            self.keys.append(key)
            self.gone.discard(key)
            if at == len(self._room):
                self._grow()
            self._room[at] = np.zeros((), ROW)
            self._room[at]["number"] = self._number
            self._number += 1
        return at

    def _grow(self) -> None:
        self._room = _longer(self._room)
        self._stale = _longer(self._stale)
        self._direction = _longer(self._direction)
        self._lists = _longer(self._lists)
        self._traits = np.hstack([self._traits, np.zeros_like(self._traits)])

    def _derive(self) -> None:
        """Bring what follows from rows up to date."""
        which = np.flatnonzero(self._stale[: len(self)])
        if not len(which):
            return
        self._stale[which] = False
        said = self._room["said"][which]
        means = content(said)
        mean = means.mean
        strength = np.linalg.norm(mean, axis=1)
        self._direction[which] = mean / np.maximum(strength, 1e-9)[:, None]
        self._lists[which] = np.log2(1.0 + np.maximum(said["lists"], 0.0))
        pace, even = _rhythm(said)
        prompts, templates = (
            hyperloglog.estimate(said["distinct"][:, COUNTED.index(kind)]) for kind in COUNTED
        )
        variety = np.log2(np.maximum(prompts, 1.0) / np.maximum(templates, 1.0))
        self._traits[:, which] = Traits(
            strength, said["first_seen"], pace, even, variety, said["nats"].astype(np.float64)
        )


def _row(data: bytes) -> np.void:
    """A row from the store, whose fingerprint may be of an earlier version.

    Raises:
        StoreRefusedError: if the row is of no known version.
    """
    layout = LAYOUTS.get(int.from_bytes(data[:2], "little"))
    if layout is None or len(data) - layout.itemsize != ROW.itemsize - FINGERPRINT.itemsize:
        raise StoreRefusedError(
            f"A row of the campaign population ({len(data)} bytes) has an unknown version. Run all "
            "workers with the same version, the newest that has written to this store."
        )
    said = migrated(data[: layout.itemsize])
    row: np.void = np.frombuffer(said.tobytes() + data[layout.itemsize :], ROW)[0]
    return row


class PopulationView:
    """Some of a population's keys: as much of it as a `Group` looks at."""

    def __init__(self, population: Population, which: Integers) -> None:
        self.rows: Rows = population.rows[which]
        self.direction = population.direction[which]
        self.lists = population.lists[which]
        self.traits = Traits(*(trait[which] for trait in population.traits))
        self._codes = {name: population.codes(name)[which] for name in IDENTIFIERS}

    def codes(self, identifier: str) -> Integers:
        return self._codes[identifier]


def _longer(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Twice as long; what has not been written takes no memory."""
    longer = np.zeros((2 * len(array), *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer


def content(said: Fingerprints) -> KernelMeans:
    """The kernel means of some fingerprints."""
    return KernelMeans.from_stored(
        said["content"], said["sketched"], HALF_LIVES[-1], SCALE, CONTENT
    )


def hours(said: Fingerprints) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Requests by hour, the newest first, and which hours are whole: neither that which has begun
    nor that in which the key came; `(n, LONG.panes)` each."""
    head = said["long_head"].astype(np.int64)[:, None]
    born = np.floor(said["first_seen"] / HOUR).astype(np.int64)[:, None]
    age = np.arange(LONG.panes)[None, :]
    counts = np.take_along_axis(
        said["long_requests"].astype(np.float64), (head - age) % LONG.panes, axis=1
    )
    known = age <= head - born
    return counts * known, known & (age > 0) & (age < head - born)


def _rhythm(said: Fingerprints) -> tuple[Floats, Floats]:
    """Pace and evenness over the hours since a key was first seen, a day of them at the most.

    The measure of evenness is the squared coefficient of variation beyond that of a Poisson
    process.
    """
    counts, whole = hours(said)
    span = np.minimum((said["ts"] - said["first_seen"]) / HOUR, LONG.panes - 0.5)
    pace = np.log2(np.maximum(counts.sum(axis=1), 1.0) / np.maximum(span, 0.25))
    n = whole.sum(axis=1)
    mean = (counts * whole).sum(axis=1) / np.maximum(n, 1)
    variance = (((counts - mean[:, None]) * whole) ** 2).sum(axis=1) / np.maximum(n - 1, 1)
    uneven = np.maximum(variance - mean, 0.0) / np.maximum(mean, 1e-9) ** 2
    told = (n >= 3) & (mean > 0)
    return pace, np.where(told, np.log2(0.03125 + np.minimum(uneven, 32.0)), np.nan)
