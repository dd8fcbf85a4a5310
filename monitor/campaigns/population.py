"""The population: every key that may be part of a campaign, as columns.

A key's row is its latest fingerprint and the identifiers of its earlier ones. Redis keeps the
row's bytes. The numbers by which keys are compared (`Traits`) follow from the row. A key without a
fingerprint for two days leaves. If the population is full, the keys with the oldest fingerprints
leave.

The rows are in the order of the keys' first fingerprints, whatever the order of arrival.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.campaigns.fingerprint import (
    FINGERPRINT,
    FINGERPRINT_DISTINCT,
    IDENTIFIERS,
    LAYOUTS,
    Fingerprints,
    migrated,
)
from monitor.campaigns.usage import content, follow_ups, rhythm
from monitor.errors import StoreRefusedError
from monitor.prompts.projection import CONTENT, LISTS
from monitor.records.profile import DAY
from monitor.sketches import hyperloglog

KEPT = 2.0 * DAY  # seconds after its last fingerprint that a key is kept
SEEN = 3  # different values of an identifier that are kept per key

ROW = np.dtype(
    [
        ("fingerprint", FINGERPRINT),
        ("identifiers", "<u8", (len(IDENTIFIERS), SEEN)),  # hashes, the newest first
        ("number", "<u8"),  # event time of the key's first fingerprint, microseconds, see `settle`
        ("tried", "<u4"),  # its requests when a group was last grown from it
    ]
)
_TRIED_SINCE = 3  # version of the fingerprint in rows with `tried`
_FIRST = 64  # rows of an empty population's arrays

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
PopulationRows = npt.NDArray[np.void]


class Traits(NamedTuple):
    """Numbers of n keys, `(n,) float64` each.

    Attributes:
        deviation: distance of the mean prompt from the baseline's, standard deviations.
        first_seen: epoch seconds.
        rate: log2 of requests per hour.
        unevenness: log2 of the variation of requests per hour beyond chance. A queue sends
            steadily, users come in sessions. NaN if unknown.
        variety: log2 of prompts per template.
        surprisal: -log p of the key's strongest detector, nats.
        prompt_surprisal: the same of the detectors that judge prompts. NaN if unknown.
        distinct: different prompts.
        repeats: share of prompts that the key had sent before.
        follow_ups: recent share of requests that continue a conversation. NaN if unknown, like the
            traits below.
        end_users: log2 of 1 + different end users.
        unattended: sequential test for requests without a person, nats.
        regular: sequential test for the gaps of a timer, nats.
    """

    deviation: Floats
    first_seen: Floats
    rate: Floats
    unevenness: Floats
    variety: Floats
    surprisal: Floats
    prompt_surprisal: Floats
    distinct: Floats
    repeats: Floats
    follow_ups: Floats
    end_users: Floats
    unattended: Floats
    regular: Floats


class Population:
    """PopulationRows by key.

    Args:
        capacity: the maximum number of keys.

    Attributes:
        keys: the key of each row.
        rows: `(n,) ROW`.
        direction: `(n, CONTENT) float32`, unit vectors: the direction in which a key's mean prompt
            deviates from the baseline's.
        lists: `(n, len(LISTS)) float64`, log2 of the similarity to distillation prompt lists.
        traits: see above.
        changed: keys whose rows are not in the store.
        removed: keys that have left and may still be in the store.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.keys: list[str] = []
        self._index: dict[str, int] = {}
        self._rows = np.zeros(_FIRST, ROW)
        self.changed: set[str] = set()
        self.removed: set[str] = set()
        self._codes: dict[str, Integers] = {}
        self._settled = 0.0  # event time of the last round
        self._stale = np.zeros(_FIRST, bool)  # rows whose derived columns are out of date
        self._direction = np.zeros((_FIRST, CONTENT), np.float32)
        self._lists = np.zeros((_FIRST, len(LISTS)))
        self._traits = np.zeros((len(Traits._fields), _FIRST))

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        return f"Population({len(self)} keys)"

    @property
    def rows(self) -> PopulationRows:
        return self._rows[: len(self)]

    def index(self, key: str) -> int | None:
        """The row number of a key, `None` if it is unknown."""
        return self._index.get(key)

    def rows_of(self, keys: Iterable[str]) -> Integers:
        """The row numbers of those keys that are known, in their order."""
        return np.array([at for key in keys if (at := self._index.get(key)) is not None], np.int64)

    def update(self, fingerprints: Fingerprints, keys: Sequence[str]) -> None:
        """Add fingerprints, oldest first. A fingerprint older than the key's row is ignored.

        Args:
            fingerprints: `(n,) FINGERPRINT`.
            keys: the n keys, repetitions allowed.
        """
        self._codes.clear()
        ts = fingerprints["ts"].tolist()
        at = np.array([self._place(*each) for each in zip(keys, ts, strict=True)], np.int64)
        order = np.argsort(at, kind="stable")
        # Repeated keys: first the first fingerprint of every key, then the second, and so on.
        first = np.flatnonzero(np.diff(at[order], prepend=-1))
        turn = np.arange(len(at)) - np.repeat(first, np.diff(first, append=len(at)))
        for n in range(int(turn.max(initial=-1)) + 1):
            which = order[turn == n]
            current = self._rows["fingerprint"]["ts"][at[which]]
            which = which[fingerprints["ts"][which] >= current]
            self._rows["fingerprint"][at[which]] = fingerprints[which]
            self._add_identifiers(at[which], fingerprints["ids"][which])
        self._stale[at] = True
        self.changed.update(keys)

    def _add_identifiers(self, rows: Integers, ids: npt.NDArray[np.uint64]) -> None:
        """Add the identifiers `(n, len(IDENTIFIERS))` of n different rows that are new to them."""
        known = self._rows["identifiers"][rows]
        new = (ids != 0) & (known != ids[:, :, None]).all(axis=2)
        known[new, 1:] = known[new, :-1]
        known[new, 0] = ids[new]
        self._rows["identifiers"][rows] = known

    def mark_tried(self, rows: Integers) -> None:
        """Remember that a group was grown from these keys, with the requests they have now."""
        self._rows["tried"][rows] = self._rows["fingerprint"]["requests"][rows]
        self.changed.update(self.keys[i] for i in rows.tolist())

    def load(self, rows: Mapping[str, bytes], settled: float = 0.0) -> None:
        """Restore the rows that the store has kept, of this layout or an earlier one.

        Args:
            settled: event time of the last round, epoch seconds.

        Raises:
            StoreRefusedError: if a row has an unknown layout.
        """
        known = {key: _from_bytes(key, data) for key, data in rows.items()}
        for key in sorted(known, key=lambda key: (int(known[key]["number"]), key)):
            at = self._place(key)
            self._rows[at], self._stale[at] = known[key], True
        self._settled = settled

    def settle(self, now: float) -> None:
        """Order the keys that are new since the last round by their first fingerprints.

        Args:
            now: event time of this round, epoch seconds. A key that comes later than it should
                counts from now on.
        """
        numbers = self.rows["number"]
        first = int(np.count_nonzero(numbers < _number(self._settled)))
        self._settled = now
        order = sorted(range(first, len(self)), key=lambda i: (int(numbers[i]), self.keys[i]))
        if order == list(range(first, len(self))):
            return
        self._codes.clear()
        self._derive()
        new = slice(first, len(self))
        for array in (self._rows, self._direction, self._lists):
            array[new] = array[order]
        self._traits[:, new] = self._traits[:, order]
        self.keys[new] = [self.keys[i] for i in order]
        self._index.update((self.keys[i], i) for i in range(first, len(self)))

    def snapshot(self) -> dict[str, bytes | None]:
        """The rows that the store does not have, `None` for those that it should delete."""
        out: dict[str, bytes | None] = dict.fromkeys(self.removed)
        out |= {key: self._rows[self._index[key]].tobytes() for key in self.changed}
        self.changed, self.removed = set(), set()
        return out

    def rollback(self, rows: Mapping[str, bytes | None]) -> None:
        """Mark the rows of a snapshot as changed again, because it did not reach the store."""
        self.changed |= {key for key in rows if key in self._index}
        self.removed |= rows.keys() - self._index.keys()

    def expire(self, now: float, keep: Iterable[str]) -> None:
        """Remove the keys that have been silent for long, except some."""
        ts = self.rows["fingerprint"]["ts"]
        over = len(self) - self._capacity
        limit = now - KEPT
        if over > 0:
            limit = max(limit, float(np.partition(ts, over - 1)[over - 1]))
        silent = ts <= limit
        silent[self.rows_of(keep)] = False
        self._remove(silent)

    def forget(self, keys: Iterable[str]) -> None:
        """Remove keys."""
        leaving = np.zeros(len(self), bool)
        leaving[self.rows_of(keys)] = True
        self._remove(leaving)

    def _remove(self, which: npt.NDArray[np.bool_]) -> None:
        """Remove the keys that are marked, `(n,) bool`."""
        if not which.any():
            return
        kept = np.flatnonzero(~which)
        self._codes.clear()
        leaving = {self.keys[i] for i in np.flatnonzero(which).tolist()}
        self.removed |= leaving
        self.changed -= leaving
        self._derive()
        for array in (self._rows, self._direction, self._lists):
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
        """An identifier's values as small integers, `(n, SEEN) int64`, 0 if unknown."""
        found = self._codes.get(identifier)
        if found is None:
            values = self.rows["identifiers"][:, IDENTIFIERS.index(identifier)]
            found = self._codes[identifier] = np.zeros(values.shape, np.int64)
            known = values != 0
            found[known] = np.unique(values[known], return_inverse=True)[1] + 1
        return found

    def _place(self, key: str, ts: float = 0.0) -> int:
        at = self._index.get(key)
        if at is None:
            at = self._index[key] = len(self.keys)
            self.keys.append(key)
            self.removed.discard(key)
            if at == len(self._rows):
                self._grow()
            self._rows[at] = np.zeros((), ROW)
            self._rows[at]["number"] = _number(max(ts, self._settled))
        return at

    def _grow(self) -> None:
        self._rows = _doubled(self._rows)
        self._stale = _doubled(self._stale)
        self._direction = _doubled(self._direction)
        self._lists = _doubled(self._lists)
        self._traits = np.hstack([self._traits, np.zeros_like(self._traits)])

    def _derive(self) -> None:
        """Compute the derived columns of rows that have changed."""
        which = np.flatnonzero(self._stale[: len(self)])
        if not len(which):
            return
        self._stale[which] = False
        fingerprints = self._rows["fingerprint"][which]
        mean = content(fingerprints).mean
        deviation = np.linalg.norm(mean, axis=1)
        self._direction[which] = mean / np.maximum(deviation, 1e-9)[:, None]
        self._lists[which] = np.log2(1.0 + np.maximum(fingerprints["lists"], 0.0))
        rate, unevenness = rhythm(fingerprints)
        prompts, templates = (
            hyperloglog.estimate(fingerprints["distinct"][:, FINGERPRINT_DISTINCT.index(kind)])
            for kind in FINGERPRINT_DISTINCT
        )
        self._traits[:, which] = Traits(
            deviation=deviation,
            first_seen=fingerprints["first_seen"],
            rate=rate,
            unevenness=unevenness,
            variety=np.log2(np.maximum(prompts, 1.0) / np.maximum(templates, 1.0)),
            surprisal=fingerprints["surprisal"].astype(np.float64),
            prompt_surprisal=fingerprints["prompt_surprisal"].astype(np.float64),
            distinct=prompts,
            repeats=np.clip(1.0 - prompts / np.maximum(fingerprints["sketch_prompts"], 1), 0, 1),
            follow_ups=follow_ups(fingerprints),
            end_users=np.log2(1.0 + fingerprints["end_users"]),
            unattended=fingerprints["unattended"].astype(np.float64),
            regular=fingerprints["regular"].astype(np.float64),
        )


class PopulationView:
    """Some keys of a population, with what a `Group` needs of them."""

    def __init__(self, population: Population, which: Integers) -> None:
        self.rows: PopulationRows = population.rows[which]
        self.direction = population.direction[which]
        self.lists = population.lists[which]
        self.traits = Traits(*(trait[which] for trait in population.traits))
        self._codes = {name: population.codes(name)[which] for name in IDENTIFIERS}

    def codes(self, identifier: str) -> Integers:
        return self._codes[identifier]


def _from_bytes(key: str, data: bytes) -> np.void:
    """A stored row of any known version as `ROW`."""
    version = int.from_bytes(data[:2], "little")
    layout = LAYOUTS.get(version)
    if version < _TRIED_SINCE:
        data += bytes(ROW["tried"].itemsize)
    if layout is None or len(data) - layout.itemsize != ROW.itemsize - FINGERPRINT.itemsize:
        raise StoreRefusedError(
            f"The linker's row of {key} in the store (version {version}, {len(data)} bytes) has an "
            "unknown layout. Run all workers with the newest version that has written to it."
        )
    if layout is not FINGERPRINT:
        fingerprint = migrated(np.frombuffer(data, layout, count=1))
        data = fingerprint.tobytes() + data[layout.itemsize :]
    row: np.void = np.frombuffer(data, ROW)[0]
    return row


def _number(ts: float) -> int:
    """An event time, epoch seconds, as the number of a row."""
    return max(0, int(1e6 * ts))


def _doubled(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array in twice the length; unwritten pages take no memory."""
    longer = np.zeros((2 * len(array), *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer
