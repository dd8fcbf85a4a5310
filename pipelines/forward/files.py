"""Log files that grow: found by patterns, followed through rotation, truncation and restarts.

A file is recognised by its device and inode while it is open, and by its beginning after that. So
these lose no line and read none twice:

- rotation by renaming: the old file is read until it has been silent for a minute;
- a restart of the forwarder, with a rotation in between: the rest of the old file is found beside
  the new one, if it is not compressed yet;
- truncation (`copytruncate`): the lines that were not read yet are found in the copy.

The same lines in a second file, with the same beginning, are a copy and are not read again.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import stat
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from glob import glob
from pathlib import Path

import msgspec

from pipelines.forward.intake import Intake
from pipelines.forward.metrics import ForwardMetrics
from pipelines.forward.tail import Lines, Position, Tail

log = logging.getLogger(__name__)

PREFIX = "file:"  # of the names of positions in the spool
_POLL = 0.25  # seconds between looks
_SILENT = 60.0  # seconds that a renamed or deleted file stays open without new lines

_Identity = tuple[int, int]
_decode_position = msgspec.json.Decoder(Position).decode


class LogFiles:
    """Follows all files that match some patterns.

    Args:
        patterns: paths, folders, or patterns with `*`, `?`, `[…]` and `**`.
        saved: positions of an earlier run, by name.
        intake: takes the lines.
        metrics: shows the bytes that are not read yet.
        silent: seconds that a renamed or deleted file stays open without new lines.
    """

    def __init__(
        self,
        patterns: Sequence[str],
        saved: dict[str, bytes],
        intake: Intake,
        metrics: ForwardMetrics,
        silent: float = _SILENT,
    ) -> None:
        self._patterns = [f"{each}/*" if os.path.isdir(each) else each for each in patterns]
        self._intake, self._metrics, self._silent = intake, metrics, silent
        self._orphans = {
            name: _decode_position(position)
            for name, position in saved.items()
            if name.startswith(PREFIX)
        }
        self._tails: dict[_Identity, Tail] = {}
        self._names: dict[_Identity, str] = {}  # of positions in the spool
        self._left: dict[_Identity, float] = {}  # since when a file has had no name of ours
        self._copies: list[Tail] = []  # whose positions are not in the spool yet
        self._complained: set[str] = set()

    async def run(self) -> None:
        """Follow the files until cancelled."""
        await asyncio.to_thread(self._scan)
        for pattern in self._patterns:
            if not glob(pattern, recursive=True):
                log.warning("no_file pattern=%s", pattern)
        for name, position in self._orphans.items():
            if any(fnmatch(position.path, pattern) for pattern in self._patterns):
                await asyncio.to_thread(self._open_rest, position)
                if name not in self._names.values():
                    await self._intake.store("file", [], name, None)
        self._orphans.clear()
        while True:
            await asyncio.to_thread(self._scan)
            while self._copies:
                await self._store([], self._copies.pop())
            busy = [await self._forward(tail) for tail in list(self._tails.values())]
            self._metrics.unread.set(sum(each.unread for each in self._tails.values()))
            if not any(busy):
                await asyncio.sleep(_POLL)

    def _scan(self) -> None:
        """Open what is new, and note what has been renamed or deleted."""
        found = dict(self._matches())
        for identity, path in found.items():
            if identity in self._tails:
                self._tails[identity].path = path
            elif tail := self._open(path):
                try:
                    self._follow(tail, self._adopt(tail))
                except OSError as error:
                    tail.close()
                    self._complain(path, error)
        now = time.monotonic()
        for identity in self._tails:
            if identity in found:
                self._left.pop(identity, None)
            else:
                self._left.setdefault(identity, now)

    def _matches(self) -> Iterator[tuple[_Identity, str]]:
        for pattern in self._patterns:
            for path in sorted(glob(pattern, recursive=True)):
                try:
                    status = os.stat(path)
                except OSError:  # renamed since
                    continue
                if stat.S_ISREG(status.st_mode):
                    yield (status.st_dev, status.st_ino), path

    def _open(self, path: str) -> Tail | None:
        try:
            tail = Tail(path)
        except FileNotFoundError:  # renamed since
            return None
        except OSError as error:
            self._complain(path, error)
            return None
        return tail

    def _follow(self, tail: Tail, name: str) -> None:
        self._tails[tail.identity] = tail
        self._names[tail.identity] = name

    def _adopt(self, tail: Tail) -> str:
        """Continue where an earlier run stopped, or the original; the name of the position."""
        for name, position in list(self._orphans.items()):
            if tail.contains(position):
                tail.seek(position.offset)
                del self._orphans[name]
                return name
        for other in self._tails.values():
            if other.position.offset and tail.contains(other.position):
                tail.seek(other.position.offset)
                self._copies.append(tail)
        return _name(tail)

    def _open_rest(self, position: Position) -> None:
        """Follow the renamed file, or the copy, in which a file's unread lines are."""
        path = Path(position.path)
        for file in sorted(path.parent.glob(f"{path.name}*")):
            tail = self._open(str(file)) if file.is_file() else None
            if tail is None:
                continue
            try:
                found = tail.contains(position)
            except OSError:
                found = False
            if found and tail.identity not in self._tails:
                tail.seek(position.offset)
                self._follow(tail, _name(tail))
            else:
                tail.close()
            if found:
                return
        log.warning(
            "rest_not_found path=%s offset=%d reason=%r",
            position.path,
            position.offset,
            "The file was replaced or truncated, and no file beside it has its lines.",
        )

    async def _forward(self, tail: Tail) -> bool:
        """Store the next lines of a file; whether there were any."""
        ended = time.monotonic() - self._left.get(tail.identity, time.monotonic()) > self._silent
        try:
            lines = await asyncio.to_thread(self._next_lines, tail, ended)
        except OSError as error:
            self._complain(tail.path, error)
            return False
        if lines is None:
            if ended:
                await self._forget(tail)
            return False
        if tail.identity in self._left:
            self._left[tail.identity] = time.monotonic()
        tail.position = lines.position
        await self._store(lines.values, tail)
        return True

    async def _store(self, values: list[bytes], tail: Tail) -> None:
        name, position = self._names[tail.identity], msgspec.json.encode(tail.position)
        await self._intake.store("file", values, name, position)

    def _next_lines(self, tail: Tail, ended: bool) -> Lines | None:
        if not tail.contains(tail.position):
            if tail.identity in self._left:  # another file's copy replaces it
                self._left[tail.identity] = -math.inf
                return None
            log.info("file_truncated path=%s offset=%d", tail.path, tail.position.offset)
            position = tail.position
            tail.seek(0)
            self._open_rest(position)
        return tail.read(whole=ended)

    async def _forget(self, tail: Tail) -> None:
        tail.close()
        del self._tails[tail.identity], self._left[tail.identity]
        await self._intake.store("file", [], self._names.pop(tail.identity), None)

    def _complain(self, path: str, error: OSError) -> None:
        if path not in self._complained:
            self._complained.add(path)
            log.error("file_unreadable path=%s reason=%r", path, error.strerror)


def _name(tail: Tail) -> str:
    """The name of a file's position in the spool."""
    return f"{PREFIX}{tail.path}:{tail.identity[1]}"
