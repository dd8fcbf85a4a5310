"""The SQLite file behind the pages.

The reader is its only writer. Everything in it comes from Redis and the topics, so a file of
another version is emptied and filled again. Readers see the last commit (WAL) and do not wait.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from monitor.errors import ConfigError

VERSION = 3
READ = "redis"  # progress: when the reader read Redis last, epoch seconds
_WAIT = 5.0  # seconds for a lock
_WRITER_WAIT = 60  # the reader's other thread may make an index
_CACHE_KB = 2_048  # per connection that reads; each thread has one
_WRITER_CACHE_KB = 65_536
_WAL_PAGES = 8_000  # of 4 KB, before they are moved to the file

T = TypeVar("T")


class View:
    """Answers queries. Threads may share it: each has a connection of its own.

    Args:
        file: created if it does not exist.

    Raises:
        ConfigError: if the file cannot be used.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._local = threading.local()
        self._watching = threading.Lock()
        self._watched: tuple[int, sqlite3.Connection] | None = None
        _create(file)

    def __repr__(self) -> str:
        return f"View({self.file})"

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """The rows of a query."""
        found: list[sqlite3.Row] = self.connection().execute(query, parameters).fetchall()
        return found

    def row(self, query: str, parameters: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row of a query, if any."""
        found: sqlite3.Row | None = self.connection().execute(query, parameters).fetchone()
        return found

    def number(self, query: str, parameters: Sequence[Any] = ()) -> int:
        """The number that a query returns, 0 for NULL."""
        found = self.row(query, parameters)
        return int(found[0] or 0) if found is not None else 0

    def structs(self, form: type[T], query: str, parameters: Sequence[Any] = ()) -> list[T]:
        """The rows of a query as structs; its columns have the names of the fields."""
        rows = self.rows(query, parameters)
        return msgspec.convert([dict(row) for row in rows], list[form], strict=False)  # type: ignore[valid-type]

    def version(self) -> int:
        """A number that is another one after the reader has committed a change."""
        with self._watching:
            return int(self._watch().execute("PRAGMA data_version").fetchone()[0])

    def _watch(self) -> sqlite3.Connection:
        """The connection that `version` asks: the number differs between connections."""
        number = os.stat(self.file).st_ino
        if self._watched is None or self._watched[0] != number:
            self._watched = number, connect(self.file)
        return self._watched[1]

    def connection(self) -> sqlite3.Connection:
        """This thread's connection, a new one if the file has been replaced."""
        known: tuple[int, sqlite3.Connection] | None = getattr(self._local, "known", None)
        try:
            number = os.stat(self.file).st_ino
        except FileNotFoundError:
            _create(self.file)
            number = os.stat(self.file).st_ino
        if known is not None and known[0] == number:
            return known[1]
        if known is not None:
            known[1].close()
        connection = connect(self.file)
        connection.execute("PRAGMA query_only = ON")
        self._local.known = number, connection
        return connection


class Writer:
    """The reader's connection to the view.

    Args:
        file: created if it does not exist, emptied if it is of another version.

    Raises:
        ConfigError: if the file cannot be used.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        _create(file)
        self.connection = connect(file)
        self.connection.execute(f"PRAGMA cache_size = -{_WRITER_CACHE_KB}")
        self.connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
        self.connection.execute(f"PRAGMA busy_timeout = {1000 * _WRITER_WAIT}")
        self.connection.execute("PRAGMA secure_delete = ON")  # what is erased is overwritten
        self._number = os.stat(file).st_ino

    @property
    def is_gone(self) -> bool:
        """Whether the file has been deleted or replaced."""
        try:
            return os.stat(self.file).st_ino != self._number
        except FileNotFoundError:
            return True

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it is committed, or nothing."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def progress(self, name: str) -> str:
        """What was noted under a name; empty before."""
        query = "SELECT value FROM progress WHERE name = ?"
        found = self.connection.execute(query, (name,)).fetchone()
        return found[0] if found else ""

    def note(self, name: str, value: str) -> None:
        """Note how far something is, in the transaction of what was done."""
        self.connection.execute("INSERT OR REPLACE INTO progress VALUES (?, ?)", (name, value))

    def close(self) -> None:
        """Close the file."""
        self.connection.close()


def connect(file: Path) -> sqlite3.Connection:
    """A connection without implicit transactions.

    Raises:
        ConfigError: if the file cannot be opened.
    """
    try:
        connection = sqlite3.connect(
            file, timeout=_WAIT, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")  # it can be built again
        connection.execute("PRAGMA temp_store = MEMORY")
    except sqlite3.Error as error:
        raise _unusable(file, error) from error
    return connection


def _create(file: Path) -> None:
    """Create the tables, in place of those of another version."""
    connection = connect(file)
    try:
        os.chmod(file, 0o600)
        if connection.execute("PRAGMA user_version").fetchone()[0] == VERSION:
            return
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
            for (name,) in connection.execute(tables).fetchall():
                connection.execute(f'DROP TABLE "{name}"')
            for statement in schema().split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except (sqlite3.Error, OSError) as error:
        raise _unusable(file, error) from error
    finally:
        connection.close()


def drop_indexes(connection: sqlite3.Connection, names: Iterable[str]) -> None:
    """Drop indexes before many rows are written: making them afterwards takes a tenth of it."""
    for name in names:
        connection.execute(f'DROP INDEX IF EXISTS "{name}"')


def make_indexes(connection: sqlite3.Connection, names: Iterable[str]) -> None:
    """Make indexes of the schema that were dropped."""
    known = re.findall(r"CREATE INDEX (\w+) (ON [^;]+);", schema())
    for name, what in known:
        if name in names:
            connection.execute(f'CREATE INDEX IF NOT EXISTS "{name}" {what}')


def _unusable(file: Path, error: Exception) -> ConfigError:
    return ConfigError(
        f"The view of the console {file} cannot be used ({error}): delete it, or set "
        "XM_CONSOLE__VIEW_FILE to a file in a directory that the console may write to."
    )


def schema() -> str:
    """The statements that create the tables."""
    return (resources.files(__package__) / "schema.sql").read_text()
