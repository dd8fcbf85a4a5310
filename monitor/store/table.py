"""The worker's table: the records of live keys, bounded, as rows of one array.

Rows are filled from the store when a key is seen and written back by checkpoints. When the table
is full, the rows that have not been used for the longest make room; only rows that the store has
in their present form can go, so whoever feeds the table checkpoints before it is `crowded`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from monitor.errors import TooFewRowsError
from monitor.records.migrations import read
from monitor.records.profile import RECORD, Records, blank
from monitor.store.base import Store
from monitor.store.record_block import Block

Rows = npt.NDArray[np.int64]


class Table:
    """Records in memory over a store.

    Args:
        store: where rows come from and go to.
        capacity: rows.
    """

    def __init__(self, store: Store, capacity: int) -> None:
        self._store = store
        self._capacity = capacity
        self.forget()

    def forget(self) -> None:
        """Drop all rows, for they may change elsewhere from now on."""
        capacity = self._capacity
        self.records: Records = np.zeros(capacity, RECORD)
        self._index: dict[str, int] = {}
        self._names: list[str] = [""] * capacity
        self._free = list(range(capacity - 1, -1, -1))
        self._used = np.zeros(capacity, np.int64)
        self._changed = np.zeros(capacity, bool)
        self._saving = np.zeros(capacity, bool)
        self._tick = 0

    def __len__(self) -> int:
        return len(self._index)

    def __repr__(self) -> str:
        return f"Table({len(self)} of {self._capacity} rows, {self.unsaved} unsaved)"

    @property
    def unsaved(self) -> int:
        """Rows that the store does not have in their present form."""
        return int(np.count_nonzero(self._changed | self._saving))

    @property
    def crowded(self) -> bool:
        """Whether a checkpoint should be written before more is observed."""
        return self.unsaved > self._capacity // 2

    def rows(self, keys: Sequence[str]) -> Rows:
        """The rows of some keys, `(len(keys),) int64`, loaded or made where they are not there.

        A key is whatever names a record in the store, see `Store.names`.
        """
        self._tick += 1
        get = self._index.get
        rows = np.array([get(key, -1) for key in keys], np.int64)
        self._used[rows[rows >= 0]] = self._tick
        if (rows < 0).any():
            missing = [key for key, row in zip(keys, rows.tolist(), strict=True) if row < 0]
            self._admit(list(dict.fromkeys(missing)))
            rows = np.array([self._index[key] for key in keys], np.int64)
        return rows

    def touch(self, rows: Rows) -> None:
        """Rows have been changed."""
        self._changed[rows] = True

    def name(self, row: int) -> str:
        """The key whose record a row is."""
        return self._names[row]

    def take(self) -> Block:
        """All changed rows, which count as being saved until `saved` or `failed`."""
        rows = np.flatnonzero(self._changed)
        self._saving[rows] = True
        self._changed[rows] = False
        return Block([self._names[row] for row in rows.tolist()], self.records[rows])

    def saved(self) -> None:
        """What was taken is in the store."""
        self._saving[:] = False

    def failed(self) -> None:
        """What was taken is not in the store."""
        self._changed |= self._saving
        self._saving[:] = False

    def _admit(self, keys: list[str]) -> None:
        loaded = [blank() if data is None else read(data) for data in self._store.load(keys)]
        if len(self._free) < len(keys):
            self._evict(len(keys) - len(self._free))
        for key, record in zip(keys, loaded, strict=True):
            row = self._free.pop()
            self.records[row] = record
            self._index[key] = row
            self._names[row] = key
            self._used[row] = self._tick

    def _evict(self, least: int) -> None:
        """Make room for `least` rows, and some more so that it is not done for every batch."""
        settled = ~(self._changed | self._saving) & (self._used < self._tick)
        settled[self._free] = False
        rows = np.flatnonzero(settled)
        if len(rows) < least:
            raise TooFewRowsError(
                f"This batch needs {least} more records than XM_ROWS allows: "
                f"raise XM_ROWS (now {self._capacity})."
            )
        count = min(len(rows), max(least, self._capacity // 16))
        oldest = rows[np.argpartition(self._used[rows], count - 1)[:count]]
        for row in oldest.tolist():
            del self._index[self._names[row]]
            self._free.append(row)
