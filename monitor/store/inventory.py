"""Every record in Redis, a page at a time, and what the records cost it.

Redis is never held up: each page is one SCAN and the GETs of what it found, and memory is asked
for a sample only, the first records that SCAN meets. It walks Redis's table by hash, so that
they are as good as drawn by lot. What is written meanwhile may be in the pages or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from monitor.store.connection import Node, Primary, execute, info
from monitor.store.redis import RECORD

_PAGE = 1000  # keys that Redis looks at before it serves others
_SAMPLE = 100  # records of a server
_START = b"0"
# MEMORY USAGE leaves out the entry of a key's expiry (32 bytes at most) and the slots of both hash
# tables (8 to 16 bytes each).
_TABLES = 64


class Memory(NamedTuple):
    """What Redis spends, in bytes.

    Attributes:
        used: all its memory at present.
        empty: the same of a server that has just been started.
        record: for one record, with its name and expiry.
    """

    used: int
    empty: int
    record: float

    def of(self, records: int) -> float:
        """What so many records would take."""
        return self.empty + records * self.record


def pages(server: Primary) -> Iterator[list[tuple[str, bytes]]]:
    """All records and the pseudonyms of their keys, none twice.

    On a Cluster, a key with requests in several partitions has a record for each.

    Raises:
        StoreError: if the server does not answer.
    """
    seen: set[bytes] = set()  # SCAN may repeat itself while the table grows
    for node in server.nodes():
        cursor: bytes | None = _START
        while cursor is not None:
            cursor, names = server.ask(partial(_scan, node, cursor))
            fresh = [name for name in dict.fromkeys(names) if name not in seen]
            seen.update(fresh)
            values = zip(fresh, server.ask(partial(_get, node, fresh)), strict=True)
            yield [(_key(name), value) for name, value in values if value is not None]


def memory(server: Primary) -> Memory:
    """What Redis spends, all servers together.

    Raises:
        StoreError: if the server does not answer, or does not tell this user.
    """
    used = empty = 0
    sizes: list[int] = []
    for node in server.nodes():
        facts, found = server.ask(partial(_weigh, node))
        used += int(facts["used_memory"])
        empty += int(facts["used_memory_startup"])
        sizes += found
    return Memory(used, empty, sum(sizes) / len(sizes) + _TABLES if sizes else 0.0)


def _scan(node: Node, cursor: bytes) -> tuple[bytes | None, list[bytes]]:
    """Where to go on, unless all has been seen, and some names."""
    with node() as connection:
        (found,) = execute(connection, [("SCAN", cursor, "MATCH", RECORD + "*", "COUNT", _PAGE)])
    return None if found[0] == _START else found[0], found[1]


def _get(node: Node, names: list[bytes]) -> list[bytes | None]:
    with node() as connection:
        return execute(connection, (("GET", name) for name in names))


def _weigh(node: Node) -> tuple[dict[str, str], list[int]]:
    """What a server says of its memory, and what some of its records take there."""
    names: list[bytes] = []
    cursor: bytes | None = _START
    while cursor is not None and len(names) < _SAMPLE:
        cursor, more = _scan(node, cursor)
        names += more[: _SAMPLE - len(names)]
    with node() as connection:
        sizes = execute(connection, (("MEMORY", "USAGE", name) for name in names))
        return info(connection, "memory"), [size for size in sizes if size is not None]


def _key(name: bytes) -> str:
    return name.decode().removeprefix(RECORD).rpartition("}:")[2]
