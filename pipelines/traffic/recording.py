"""Recorded requests in the order of their time, whatever the order of the files and in them.

The engine needs time order, as a stream has it. Files are taken to be in order, those of a folder
by the times of their first requests, and read as they are; the engine reads the times anyway. Once
one lies before another, the recording is read again from the beginning and sorted. So files in
order cost nothing, and others (newest first, overlapping shards, lines out of place) give the same
result as if they had been in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Annotated, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.errors import InputError
from monitor.requests.decoder import Decoder
from pipelines.traffic.elements import BATCH
from pipelines.traffic.files import LineFile, Progress, expand, no_progress
from pipelines.traffic.sorting import Item, Sorter

T = TypeVar("T")

_HEAD = 100  # elements of a file that are looked at for its first time
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


class OutOfOrderError(Exception):
    """A request lies before one that was read earlier."""


class Times:
    """Reads the time of elements.

    Args:
        decoder: of their format.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._native = msgspec.json.Decoder(_Time).decode if self._decoder.native else None

    def __call__(self, values: Sequence[bytes]) -> list[float | None]:
        """The time of the first request of each element, epoch seconds; `None`: unreadable."""
        times: list[float | None] = [self._time(value) for value in values]
        unread = [at for at, ts in enumerate(times) if ts is None]
        decoded = self._decoder.decode([values[at] for at in unread], math.inf)
        for event, source in zip(reversed(decoded.events), reversed(decoded.sources), strict=True):
            times[unread[source]] = event.ts
        return times

    def _time(self, value: bytes) -> float | None:
        if self._native is None:
            return None
        try:
            ts = self._native(value).ts
        except (ValueError, RecursionError):
            return None
        return ts if isinstance(ts, float) else ts.timestamp()


class _Time(msgspec.Struct):
    ts: float | Annotated[datetime, msgspec.Meta(tz=True)]


class Recording:
    """Files of requests, read in batches of elements.

    Args:
        paths: files, folders, patterns; `-` is stdin.
        decoder: of their format.
        progress: called after each batch that is read from a file.

    Raises:
        InputError: a folder or pattern names no file.
    """

    def __init__(
        self, paths: Sequence[str], decoder: Decoder, *, progress: Progress = no_progress
    ) -> None:
        self._paths = expand(paths)
        self._times = Times(decoder)
        self._progress = progress
        self._pipes: dict[str, LineFile] = {}
        self._sorts = False
        self._latest = -math.inf
        self._place: Callable[[int], str] = str

    def batches(self) -> Iterator[list[bytes]]:
        """Yield lists of elements, none of them blank.

        Raises:
            InputError: a file cannot be read to its end. What was before has been yielded.
        """
        return self._sorted() if self._sorts else self._as_they_are()

    def place(self, index: int) -> str:
        """Where an element of the last batch stands: file and line."""
        return self._place(index)

    def check(self, times: npt.NDArray[np.float64]) -> None:
        """Check that the requests of the last batch are in order and after those before.

        Args:
            times: `(n,) float64`, epoch seconds, as read.

        Raises:
            OutOfOrderError: they are not.
        """
        if self._sorts or not len(times):
            return
        if times[0] < self._latest or (times[1:] < times[:-1]).any():
            raise OutOfOrderError
        self._latest = float(times[-1])

    def run(self, replay: Callable[[Recording], T]) -> T:
        """Call a function that reads all batches and checks them; once more if out of order."""
        try:
            return replay(self)
        except OutOfOrderError:
            self.sort()
            return replay(self)

    def sort(self) -> None:
        """Let `batches` begin again, sorted by time."""
        self._sorts = True

    def settle(self) -> None:
        """Say that `batches` does not begin again: what a pipe holds need not be kept."""
        for pipe in self._pipes.values():
            pipe.forget()

    def _open(self, path: str) -> LineFile:
        """A file from its beginning. A pipe stays open, as it cannot be opened again."""
        if path in self._pipes:
            self._pipes[path].rewind()
            return self._pipes[path]
        file = LineFile(path, twice=True)
        if file.size is None:
            self._pipes[path] = file
        return file

    def _read(self, path: str) -> Iterator[tuple[LineFile, list[bytes], Sequence[int]]]:
        """The elements of a file that are not blank, and their lines."""
        file = self._open(path)
        for found in file.batches():
            values, numbers = [each for each in found if each and not each.isspace()], file.numbers
            if len(values) < len(found):
                kept = zip(found, numbers, strict=True)
                numbers = [number for each, number in kept if each and not each.isspace()]
            yield file, values, numbers
            self._progress(file)
        if path not in self._pipes:
            file.close()

    def _as_they_are(self) -> Iterator[list[bytes]]:
        for path in self._by_first_time():
            for file, values, numbers in self._read(path):
                self._place = partial(_place, file.origin, numbers)
                yield values

    def _by_first_time(self) -> list[str]:
        """The paths by the time of the first request; a pipe cannot be looked at."""
        if len(self._paths) == 1:
            return self._paths
        first: list[tuple[float, int, str]] = []
        ts = -math.inf
        for path in self._paths:
            with LineFile(path) as file:
                if file.size is None:
                    return self._paths
                with suppress(InputError):  # raised when the file is read
                    found = self._times(next(file.batches(_HEAD), []))
                    ts = next((each for each in found if each is not None), ts)
            first.append((ts, len(first), path))
        return [path for *_, path in sorted(first)]

    def _sorted(self) -> Iterator[list[bytes]]:
        sorter, origins, error = Sorter(), list[str](), None
        try:
            for path in self._paths:
                self._sort_file(path, sorter, origins)
        except InputError as damage:  # what was before it counts
            error = damage
        items = sorter.sorted()
        while batch := list(islice(items, BATCH)):
            self._place = partial(_sorted_place, origins, batch)
            yield [item.value for item in batch]
        if error is not None:
            raise error

    def _sort_file(self, path: str, sorter: Sorter, origins: list[str]) -> None:
        """Add the elements of a file; one without a readable time follows the one before it."""
        position, ts = 0, -math.inf
        for file, values, numbers in self._read(path):
            if not origins or origins[-1] != file.origin:
                origins.append(file.origin)
                position, ts = 0, -math.inf
            elements = _without_arrays(values, numbers)
            times = self._times([value for value, _ in elements])
            for found, (value, number) in zip(times, elements, strict=True):
                ts = ts if found is None else found
                sorter.add(ts, len(origins) - 1, position, number, value)
                position += 1


def _place(origin: str, numbers: Sequence[int], index: int) -> str:
    return f"{origin} {numbers[index]}"


def _sorted_place(origins: Sequence[str], batch: Sequence[Item], index: int) -> str:
    return f"{origins[batch[index].origin]} {batch[index].number}"


def _without_arrays(values: Sequence[bytes], numbers: Sequence[int]) -> list[tuple[bytes, int]]:
    """Elements and their lines, those of arrays in the place of the array: each has its time."""
    return [
        (each, number)
        for value, number in zip(values, numbers, strict=True)
        for each in _elements_of(value)
    ]


def _elements_of(value: bytes) -> list[bytes]:
    if value.lstrip()[:1] == b"[":
        with suppress(ValueError, RecursionError):
            return [bytes(each) for each in _decode_array(value)] or [value]
    return [value]
