"""Many records as they are stored, and the commands that write them to Redis.

Checkpoints are the largest writer. So their commands are joined here: redis-py's own encoding takes
several times the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.kernels.zeros import expand, width_of
from monitor.records.migrations import read
from monitor.records.profile import RECORD, RECORD_VERSION, Records, as_words, blank

_COMMANDS = 1000  # per buffer


class Block(Mapping[str, bytes]):
    """The stored form of records by their names.

    Args:
        names: of the records, n.
        data: `(size,) uint8`, the values one after another.
        ends: `(n,) int64`, byte offset where each ends.
    """

    def __init__(
        self, names: list[str], data: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]
    ) -> None:
        self.names = names
        self.data = data.data
        self.places = list(zip([0, *ends.tolist()], ends.tolist(), strict=False))
        self._index: dict[str, int] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __getitem__(self, name: str) -> bytes:
        if self._index is None:
            self._index = {each: i for i, each in enumerate(self.names)}
        start, end = self.places[self._index[name]]
        return self.data[start:end].tobytes()


def read_all(values: Sequence[bytes | None]) -> Records:
    """Read n records, `(n,) RECORD`; one that is missing is blank.

    Raises:
        StoreRefusedError: as `read`.
    """
    records = np.zeros(len(values), RECORD)
    words = as_words(records)
    usual = [i for i, value in enumerate(values) if value and width_of(value) == words.shape[1]]
    with suppress(ValueError):  # `read` refuses the damaged one
        words[usual] = expand([values[i] or b"" for i in usual], words.shape[1])
    for i in np.flatnonzero(records["version"] != RECORD_VERSION).tolist():
        value = values[i]
        records[i] = blank() if value is None else read(value)
    return records


class Packed(NamedTuple):
    """Commands in Redis's wire format."""

    data: bytes
    commands: int


def pack(block: Block, prefix: str, seconds: int) -> Iterator[Packed]:
    """SET of each record under prefix + name, to expire after `seconds`."""
    tail = b"\r\n$2\r\nEX\r\n$%d\r\n%d\r\n" % (len(str(seconds)), seconds)
    for first in range(0, len(block), _COMMANDS):
        names = block.names[first : first + _COMMANDS]
        parts: list[bytes | memoryview] = []
        for name, (start, end) in zip(names, block.places[first:], strict=False):
            key = (prefix + name).encode()
            head = b"*5\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n" % (len(key), key, end - start)
            parts += head, block.data[start:end], tail
        yield Packed(b"".join(parts), len(names))
