"""The SQLite file of the view."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path


class View:
    """The view, for reading. Threads may share it: each has a connection of its own.

    Args:
        file: of the view; it is made if there is none.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._local = threading.local()
        with writing(file):
            pass

    def connection(self) -> sqlite3.Connection:
        """The connection of this thread. It cannot write."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = sqlite3.connect(f"file:{self.file}?mode=ro", uri=True, timeout=5)
            found.row_factory = sqlite3.Row
            self._local.connection = found
        return found


@contextmanager
def writing(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection that writes, with the tables of this version."""
    connection = sqlite3.connect(file, timeout=30)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.executescript(resources.files(__package__).joinpath("schema.sql").read_text())
        yield connection
    finally:
        connection.close()
