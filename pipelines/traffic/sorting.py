"""Sort recorded elements by time in bounded memory.

Elements are sorted in runs that fit in memory. Runs go to temporary files and are merged at the
end (D. Knuth, The Art of Computer Programming 3, 5.4).
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterable, Iterator
from tempfile import TemporaryFile
from typing import IO, NamedTuple

from monitor.errors import InputError

RUN_BYTES = 128 << 20  # of elements in memory
MOST_RUNS = 64  # files that are open at once
_OVERHEAD = 200  # bytes of an element in memory, beside its value

_HEAD = struct.Struct("<dIqqI")


class Item(NamedTuple):
    """An element, in the order of its fields.

    Attributes:
        ts: its time, epoch seconds.
        origin: index of its file, or member of an archive.
        order: its place there; falling if the file is newest first.
        number: its line, row or record there.
        value: its bytes.
    """

    ts: float
    origin: int
    order: int
    number: int
    value: bytes


class Sorter:
    """Takes elements in any order and yields them in the order of `Item`.

    Elements of the same time keep their order in the file; in a file that is newest first, they
    are reversed too.
    """

    def __init__(self, run_bytes: int = RUN_BYTES) -> None:
        self._run_bytes = run_bytes
        self._items: list[Item] = []
        self._bytes = 0
        self._runs: list[IO[bytes]] = []
        self._steps: dict[int, int] = {}  # by origin: steps forward in time less steps back
        self._newest_first: dict[int, bool] = {}
        self._last: tuple[int, float] | None = None

    def add(self, ts: float, origin: int, position: int, number: int, value: bytes) -> None:
        """Add an element; of one origin, all in the order of the file.

        Raises:
            InputError: there is no space for temporary files.
        """
        if self._last is not None and self._last[0] == origin and ts != self._last[1]:
            step = 1 if ts > self._last[1] else -1
            self._steps[origin] = self._steps.get(origin, 0) + step
        self._last = (origin, ts)
        self._items.append(Item(ts, origin, position, number, value))
        self._bytes += len(value) + _OVERHEAD
        if self._bytes >= self._run_bytes:
            self._spill()

    def sorted(self) -> Iterator[Item]:
        """All elements, sorted."""
        self._sort()
        return heapq.merge(*map(_items, self._runs), self._items)

    def _sort(self) -> None:
        for origin, steps in self._steps.items():
            self._newest_first.setdefault(origin, steps < 0)
        back = {origin for origin, newest_first in self._newest_first.items() if newest_first}
        if back:
            self._items = [
                item._replace(order=-item.order) if item.origin in back else item
                for item in self._items
            ]
        self._items.sort()

    def _spill(self) -> None:
        self._sort()
        if len(self._runs) == MOST_RUNS:
            self._runs = [_written(heapq.merge(*map(_items, self._runs)))]
        self._runs.append(_written(self._items))
        self._items, self._bytes = [], 0


def _written(items: Iterable[Item]) -> IO[bytes]:
    run = TemporaryFile(prefix="xm-")  # noqa: SIM115
    try:
        for ts, origin, order, number, value in items:
            run.write(_HEAD.pack(ts, origin, order, number, len(value)))
            run.write(value)
        run.flush()
    except OSError as error:
        raise InputError(
            "Cannot sort the requests by time: the folder for temporary files says "
            f"{error.strerror!r}. Name another with TMPDIR, with space for the unpacked requests."
        ) from error
    return run


def _items(run: IO[bytes]) -> Iterator[Item]:
    run.seek(0)
    while head := run.read(_HEAD.size):
        ts, origin, order, number, size = _HEAD.unpack(head)
        yield Item(ts, origin, order, number, run.read(size))
    run.close()
