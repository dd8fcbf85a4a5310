"""The worker's table: the records of active keys, as rows of one array of fixed size.

A row is loaded from the store when its key is first seen and written back by a checkpoint. A full
table evicts the least recently used rows. Only rows that the store has in their present form can
be evicted, so the caller writes a checkpoint when the table is `crowded`. If a batch still needs
more rows than can be evicted, the table grows for it, and shrinks with the next checkpoint: one
message with very many new keys must not stop the stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from monitor.errors import StoreError, StoreRefusedError
from monitor.kernels.zeros import compact
from monitor.records.admission import admission_fields
from monitor.records.migrations import damaged
from monitor.records.profile import RECORD, Records, as_words, blank, copies
from monitor.store.base import Store
from monitor.store.record_block import Block, read_all

Rows = npt.NDArray[np.int64]


class Table:
    """Records in memory, backed by a store.

    Args:
        store: where rows are loaded from.
        capacity: number of rows; exceeded only while a batch needs more.
    """

    def __init__(self, store: Store, capacity: int) -> None:
        self._store = store
        self._capacity = capacity
        self.clear()

    def clear(self) -> None:
        """Drop all rows, saved or not: another worker may change them from now on."""
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
        """Number of rows that the store does not have in their present form."""
        return int(np.count_nonzero(self._changed | self._saving))

    @property
    def crowded(self) -> bool:
        """Whether a checkpoint should be written before the next batch."""
        return self.unsaved_share > 0.5

    @property
    def unsaved_share(self) -> float:
        """Unsaved rows, of the capacity."""
        return self.unsaved / self._capacity

    def rows(self, names: Sequence[str], keep: Rows | None = None) -> Rows:
        """The rows of some records, loaded or created where needed.

        Args:
            names: of the records, see `Store.names`.
            keep: rows that must stay, besides those of `names`.

        Returns:
            `(len(names),) int64`.

        Raises:
            StoreError: if the store cannot load, or a record is of an unknown version.
        """
        self._tick += 1
        get = self._index.get
        rows = np.array([get(name, -1) for name in names], np.int64)
        self._used[rows[rows >= 0]] = self._tick
        if keep is not None:
            self._used[keep] = self._tick
        if (rows < 0).any():
            missing = [name for name, row in zip(names, rows.tolist(), strict=True) if row < 0]
            self._load(list(dict.fromkeys(missing)))
            rows = np.array([self._index[name] for name in names], np.int64)
        return rows

    def find(self, names: Sequence[str]) -> Rows:
        """The rows of some records, -1 where one is not in memory, `(len(names),) int64`."""
        return np.array([self._index.get(name, -1) for name in names], np.int64)

    @contextmanager
    def restored_on_error(self, rows: Rows) -> Iterator[None]:
        """Restore what admission changes in these rows if a store fails meanwhile."""
        fields = admission_fields(self.records)
        before = fields[rows]
        try:
            yield
        except StoreError:
            fields[rows] = before
            raise

    def mark_changed(self, rows: Rows) -> None:
        """Include these rows in the next snapshot."""
        self._changed[rows] = True

    def blank(self, rows: Rows) -> None:
        """Make these rows like those of new keys, in the next snapshot too."""
        self.records[rows] = blank()
        self.mark_changed(rows)

    def snapshot(self) -> Block:
        """Copy all changed rows. Ends with `commit` or `rollback`."""
        rows = np.flatnonzero(self._changed)
        self._saving[rows] = True
        self._changed[rows] = False
        names = [self._names[row] for row in rows.tolist()]
        return Block(names, *compact(as_words(self.records), rows))

    def commit(self) -> None:
        """The snapshot is in the store."""
        self._saving[:] = False
        if len(self.records) > self._capacity:
            self._shrink()

    def rollback(self) -> None:
        """The snapshot is not in the store: include its rows in the next one."""
        self._changed |= self._saving
        self._saving[:] = False

    def _load(self, names: list[str]) -> None:
        loaded = read_all(self._store.load(names))
        for i in np.flatnonzero(damaged(loaded))[:1].tolist():
            raise StoreRefusedError(
                f"The record of {names[i]} in the store is damaged: restore it from a backup, or "
                "delete it, and the key starts again without its past."
            )
        if len(self._free) < len(names):
            self._evict(len(names) - len(self._free))
        rows = [self._free.pop() for _ in names]
        as_words(self.records)[rows] = as_words(loaded)
        self._used[rows] = self._tick
        for name, row in zip(names, rows, strict=True):
            self._index[name] = row
            self._names[row] = name

    def _evict(self, needed: int) -> None:
        """Free at least `needed` rows, and a sixteenth of the table where that is possible."""
        evictable = ~(self._changed | self._saving) & (self._used < self._tick)
        evictable[self._free] = False
        rows = np.flatnonzero(evictable)
        if len(rows) < needed:
            self._grow(needed - len(rows))
        count = min(len(rows), max(needed, self._capacity // 16))
        if count:
            oldest = rows[np.argpartition(self._used[rows], count - 1)[:count]]
            self._drop(oldest.tolist())

    def _drop(self, rows: list[int]) -> None:
        for row in rows:
            del self._index[self._names[row]]
            self._free.append(row)

    def _grow(self, more: int) -> None:
        size = len(self.records)
        self._resize(np.arange(size), size + more)
        self._free += range(size, size + more)

    def _shrink(self) -> None:
        """Return to `capacity` rows, as far as the store has the others in their present form."""
        used = np.sort(np.fromiter(self._index.values(), np.int64, len(self._index)))
        unsaved = self._changed[used]
        recent = used[np.lexsort([self._used[used], unsaved])]  # unsaved rows last
        keep = max(self._capacity, int(np.count_nonzero(unsaved)))
        self._drop(recent[: max(0, len(recent) - keep)].tolist())
        kept = np.sort(recent[max(0, len(recent) - keep) :])
        self._resize(kept, keep)
        self._index = {name: row for row, name in enumerate(self._names[: len(kept)])}
        self._free = list(range(keep - 1, len(kept) - 1, -1))

    def _resize(self, kept: Rows, size: int) -> None:
        """Move the rows `kept`, `(k,) int64`, to the front of a table of `size` rows."""
        records = np.zeros(size, RECORD)
        records[: len(kept)] = copies(self.records, kept)
        self.records = records
        self._names = [self._names[row] for row in kept.tolist()] + [""] * (size - len(kept))
        extended = (
            np.concatenate([each[kept], np.zeros(size - len(kept), each.dtype)])
            for each in (self._used, self._changed, self._saving)
        )
        self._used, self._changed, self._saving = extended
