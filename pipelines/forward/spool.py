"""Spool: messages on disk until Kafka has acknowledged them, in a SQLite database.

A source adds messages together with its own new position, in one transaction. So after a crash or a
power failure it continues exactly behind the last message in the spool: none is lost, none is there
twice. Transactions that come while another one is written share the next one, and its fsync.

The spool is bounded. A source waits for room, so a log file or a client holds what does not fit.
The messages contain API keys and prompts. Only the owner can read the folder, and when all are
sent, its files hold nothing of them.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from monitor.errors import ConfigError, MonitorError
from pipelines.kafka.outlet import Message

_Result = TypeVar("_Result")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL, value BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS positions (source TEXT PRIMARY KEY, position BLOB NOT NULL);
"""
_PRAGMAS = ["locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"]
_OVERHEAD = 64  # bytes per message beside its key and value
_SHRINK = 16 << 20  # bytes of an empty database above which it is made small again
_BATCH, _BATCH_BYTES = 5_000, 4 << 20  # messages read at once, and about their bytes


class SpoolError(MonitorError):
    """The spool cannot be written; retry later."""


class SpoolFullError(SpoolError):
    """The spool has no room; retry later."""


class Spooled(NamedTuple):
    """Messages from the spool, in order.

    Attributes:
        last: id of the last one.
    """

    messages: list[Message]
    last: int


class _Entry(NamedTuple):
    """A transaction that waits to be written."""

    messages: Sequence[Message]
    source: str
    position: bytes | None
    size: int
    written: asyncio.Future[None]


class Spool:
    """Messages that wait for Kafka.

    Args:
        folder: for the database; created if absent. One process uses it at a time.
        limit: bytes of messages. A single larger entry fits into an empty spool.

    Attributes:
        limit: bytes of messages that it holds.
        size: bytes of the messages in it.
        count: number of the messages in it.

    Raises:
        ConfigError: the folder cannot be used, or another process uses it.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.size = self.count = 0
        self.limit = limit
        self._thread = ThreadPoolExecutor(1, "spool")
        self._waiting: list[_Entry] = []
        self._writing: asyncio.Task[None] | None = None
        self._filled, self._freed = asyncio.Event(), asyncio.Event()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = folder / "spool.db"
            file.touch(0o600)
            self._database = sqlite3.connect(
                file, timeout=1.0, isolation_level=None, check_same_thread=False
            )
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            self._thread.shutdown()
            raise _unusable(folder, error) from error

    def _prepare(self) -> None:
        for pragma in _PRAGMAS:
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute("BEGIN IMMEDIATE")  # takes the lock for good
        for statement in _SCHEMA.split(";"):
            self._database.execute(statement)
        self._database.execute("COMMIT")
        (row,) = self._database.execute(
            "SELECT count(*), coalesce(sum(length(key) + length(value)), 0) FROM messages"
        )
        self.count, self.size = row[0], row[1] + _OVERHEAD * row[0]

    async def positions(self) -> dict[str, bytes]:
        """The last position of each source."""
        rows = await self._run(
            lambda: self._database.execute("SELECT source, position FROM positions").fetchall()
        )
        return dict(rows)

    async def put(
        self,
        messages: Sequence[Message],
        source: str = "",
        position: bytes | None = None,
        *,
        wait: bool = True,
    ) -> None:
        """Add messages, and the position of their source behind them; on disk on return.

        Args:
            source: name of the source; empty: it has no position.
            position: as the source encodes it; `None`: forget the source.
            wait: for room.

        Raises:
            SpoolFullError: there is no room, and `wait` is false.
            SpoolError: the disk is full or fails. Nothing was added.
        """
        size = _size(messages)
        while messages and self.size and self.size + size > self.limit:
            if not wait:
                raise SpoolFullError("The spool is full because Kafka is away or slow. Send again.")
            self._freed.clear()
            await self._freed.wait()
        self.size += size
        self.count += len(messages)
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Entry(messages, source, position, size, written))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        await asyncio.shield(written)

    async def _write(self) -> None:
        while self._waiting:
            entries, self._waiting = self._waiting, []
            try:
                await self._run(lambda entries=entries: self._commit(entries))  # type: ignore[misc]
            except SpoolError as error:
                for entry in entries:
                    self._free(len(entry.messages), entry.size)
                    if not entry.written.cancelled():
                        entry.written.set_exception(error)
                        entry.written.exception()  # its source may be gone
                continue
            self._filled.set()
            for entry in entries:
                if not entry.written.cancelled():
                    entry.written.set_result(None)

    def _commit(self, entries: Sequence[_Entry]) -> None:
        database = self._database
        database.execute("BEGIN")
        with database:  # commits, or rolls back
            for entry in entries:
                database.executemany(
                    "INSERT INTO messages (key, value) VALUES (?, ?)",
                    [(each.key or b"", each.value) for each in entry.messages],
                )
                if entry.source and entry.position is None:
                    database.execute("DELETE FROM positions WHERE source = ?", (entry.source,))
                elif entry.source:
                    database.execute(
                        "INSERT OR REPLACE INTO positions VALUES (?, ?)",
                        (entry.source, entry.position),
                    )

    async def next(self) -> Spooled:
        """The oldest messages; waits until there is one."""
        while True:
            self._filled.clear()
            found = await self._run(self._oldest)
            if found.messages:
                return found
            await self._filled.wait()

    def _oldest(self) -> Spooled:
        messages: list[Message] = []
        last = size = 0
        rows = self._database.execute(
            "SELECT id, key, value FROM messages ORDER BY id LIMIT ?", (_BATCH,)
        )
        for number, key, value in rows:
            last = number
            messages.append(Message(key, value))
            size += len(value)
            if size > _BATCH_BYTES:
                break
        rows.close()
        return Spooled(messages, last)

    async def remove(self, sent: Spooled) -> None:
        """Remove what `next` gave: Kafka has it."""
        await self._run(lambda: self._delete(sent.last))
        self._free(len(sent.messages), _size(sent.messages))

    def _delete(self, last: int) -> None:
        database = self._database
        database.execute("DELETE FROM messages WHERE id <= ?", (last,))
        with suppress(sqlite3.Error):  # a full disk; the next time will do
            ((empty,),) = database.execute("SELECT NOT EXISTS (SELECT 1 FROM messages)")
            ((size,),) = database.execute(
                "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
            )
            if empty and size > _SHRINK:
                database.execute("VACUUM")
            if empty:
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _free(self, count: int, size: int) -> None:
        self.count -= count
        self.size -= size
        self._freed.set()

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.Error as error:
            raise SpoolError(
                f"The spool cannot be used ({error}): free space on its disk, or check the disk."
            ) from error

    async def close(self) -> None:
        """Write what waits, and close the database."""
        if self._writing is not None:
            await self._writing
        self._thread.shutdown()
        self._database.close()


def _size(messages: Sequence[Message]) -> int:
    return sum(len(each.value) + len(each.key or b"") + _OVERHEAD for each in messages)


def _unusable(folder: Path, error: Exception) -> ConfigError:
    if "locked" in str(error):
        return ConfigError(
            f"Another `xm forward` uses the spool {folder}: give each its own XM_FORWARD__SPOOL."
        )
    reason = error.strerror if isinstance(error, OSError) else error
    return ConfigError(
        f"The spool {folder} cannot be used ({reason}): set XM_FORWARD__SPOOL to a folder on a "
        "local disk that this user can write."
    )
