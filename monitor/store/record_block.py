"""Many records as one array, and as the commands that write them to Redis.

All records have one size. The commands that write records with names of one length differ in name
and record only, so thousands of them are filled in as columns of one array. That takes a quarter of
the CPU of encoding them one by one, and checkpoints are the largest writer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from monitor.records.profile import RECORD, Records

_COMMANDS = 1000  # per array
_SIZE = RECORD.itemsize


class Block(Mapping[str, bytes]):
    """The bytes of records by their names.

    Args:
        names: of the records, n.
        records: `(n,) RECORD`.
    """

    def __init__(self, names: list[str], records: Records) -> None:
        self.names = names
        self.records = records
        self._rows: dict[str, int] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __getitem__(self, name: str) -> bytes:
        if self._rows is None:
            self._rows = {each: i for i, each in enumerate(self.names)}
        return bytes(self.records[self._rows[name]].tobytes())


class Packed(NamedTuple):
    """Commands in Redis's wire format."""

    data: Any  # with the buffer protocol
    commands: int


def pack(block: Block, prefix: str, seconds: int) -> Iterator[Packed]:
    """SET of each record under prefix + name, to expire after `seconds`."""
    names = np.array([(prefix + name).encode() for name in block.names], np.bytes_)
    lengths = np.char.str_len(names)
    for length in np.unique(lengths).tolist():
        which = np.flatnonzero(lengths == length)
        for start in range(0, len(which), _COMMANDS):
            part = which[start : start + _COMMANDS]
            yield _pack(names[part], length, block.records[part], seconds)


def _pack(names: Any, length: int, records: Records, seconds: int) -> Packed:
    begin = b"*5\r\n$3\r\nSET\r\n$%d\r\n" % length
    middle = b"\r\n$%d\r\n" % _SIZE
    end = b"\r\n$2\r\nEX\r\n$%d\r\n%d\r\n" % (len(str(seconds)), seconds)
    layout = [
        ("begin", f"S{len(begin)}"),
        ("name", f"S{length}"),
        ("middle", f"S{len(middle)}"),
        ("record", f"V{_SIZE}"),
        ("end", f"S{len(end)}"),
    ]
    commands = np.empty(len(names), layout)
    commands["begin"], commands["middle"], commands["end"] = begin, middle, end
    commands["name"] = names
    commands["record"] = records.view(f"V{_SIZE}")
    return Packed(commands.view(np.uint8), len(names))
