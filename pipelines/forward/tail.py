"""Tail: one log file, read line by line from a position, and recognised when it is renamed."""

from __future__ import annotations

import hashlib
import os
from typing import NamedTuple

import msgspec

from monitor.requests.framing.elements import MAX_BYTES

_READ = 1 << 20  # bytes read at once
_BLOCK = 1_024  # bytes at the beginning and before an offset, by which a file is recognised


class Position(msgspec.Struct, frozen=True):
    """Where a file was read to, and what it looked like.

    Attributes:
        path: its name when it was opened.
        offset: bytes read.
        fingerprint: hash of its beginning and of the bytes before the offset.
    """

    path: str
    offset: int
    fingerprint: str


class Lines(NamedTuple):
    """Lines without their newlines, and the position behind them."""

    values: list[bytes]
    position: Position


class Tail:
    """An open log file.

    A line without a newline waits for its rest. A line above the size limit of a message comes in
    pieces, which the worker rejects. NUL bytes before a line are left out: a server that does not
    append leaves them where `copytruncate` cut.

    Args:
        path: the file.
        offset: where to begin.

    Attributes:
        path: its present name.
        position: behind the last line that was read.
        identity: device and inode.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: str, offset: int = 0) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(self._file)
        self.path = path
        self.identity = status.st_dev, status.st_ino
        self._size = status.st_size
        self.position = self._position(offset)

    @property
    def unread(self) -> int:
        """Bytes that are not read yet, as far as known."""
        return max(0, self._size - self.position.offset)

    def contains(self, position: Position) -> bool:
        """Whether this is the file of a position, or a copy of it, whatever its name."""
        self._size = os.fstat(self._file).st_size
        return (
            self._size >= position.offset
            and self._fingerprint(position.offset) == position.fingerprint
        )

    def seek(self, offset: int) -> None:
        """Continue at another offset."""
        self.position = self._position(offset)

    def read(self, *, whole: bool = False) -> Lines | None:
        """The next lines; `None` if there are none yet.

        Args:
            whole: whether nothing more is written to the file: its last line needs no newline.
        """
        start = self.position.offset
        data = os.pread(self._file, _READ, start)
        end = data.rfind(b"\n") + 1
        if not end and len(data) == _READ:
            data = os.pread(self._file, MAX_BYTES + 1, start)
            end = data.find(b"\n") + 1 or (len(data) if len(data) > MAX_BYTES else 0)
        if not end and whole:
            end = len(data)
        if not end:
            return None
        lines = (line.lstrip(b"\0") for line in data[:end].split(b"\n"))
        values = [line for line in lines if line.strip()]
        return Lines(values, self._position(start + end))

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _position(self, offset: int) -> Position:
        return Position(self.path, offset, self._fingerprint(offset))

    def _fingerprint(self, offset: int) -> str:
        length = min(offset, _BLOCK)
        blocks = os.pread(self._file, length, 0), os.pread(self._file, length, offset - length)
        return hashlib.sha256(b"".join(blocks)).hexdigest()[:32]
