"""All records and decisions in Redis, page by page, and the memory that records take.

Redis stays responsive: each page is one SCAN and the GETs of its keys. MemoryUsage is measured on a
sample, the first records that SCAN returns; SCAN follows the hash table, so they are a random
sample. A record that is written meanwhile may be included or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from monitor.alerting.decisions import ActiveDecision
from monitor.store.connection import Node, Primary, execute, info
from monitor.store.redis import DECISION_KEY, RECORD_KEY, read_decision

_PAGE = 1000  # keys per SCAN
_SAMPLE = 100  # records per server
_START = b"0"
# MEMORY USAGE leaves out the entry of a key's expiry (32 bytes at most) and the slots of both hash
# tables (8 to 16 bytes each).
_TABLES = 64


class MemoryUsage(NamedTuple):
    """MemoryUsage of Redis, in bytes.

    Attributes:
        used: in use now.
        empty: in use right after the start, without data.
        record: mean of one record, with its name and expiry.
    """

    used: int
    empty: int
    record: float

    def estimate(self, records: int) -> float:
        """The memory in use with this number of records, bytes."""
        return self.empty + records * self.record


def pages(server: Primary) -> Iterator[list[tuple[str, bytes]]]:
    """All records, each once, as (pseudonym of the key, bytes of the record).

    On a Cluster, a key with requests in several partitions has a record for each.

    Raises:
        StoreError: if the server does not answer.
    """
    for page in _pages(server, RECORD_KEY):
        yield [(_key(name), value) for name, value in page]


def decisions(server: Primary) -> Iterator[ActiveDecision]:
    """All decisions in force, of all origins; unreadable ones are logged and left out.

    Raises:
        StoreError: if the server does not answer.
    """
    for page in _pages(server, DECISION_KEY):
        for name, value in page:
            decision = read_decision(value, name.decode())
            if decision is not None:
                yield decision


def _pages(server: Primary, prefix: str) -> Iterator[list[tuple[bytes, bytes]]]:
    """All keys with a prefix, each once, and their values."""
    seen: set[bytes] = set()  # SCAN may repeat a key while the hash table grows
    for node in server.nodes():
        cursor: bytes | None = _START
        while cursor is not None:
            cursor, names = server.run(partial(_scan, node, prefix, cursor))
            fresh = [name for name in dict.fromkeys(names) if name not in seen]
            seen.update(fresh)
            values = zip(fresh, server.run(partial(_get, node, fresh)), strict=True)
            yield [(name, value) for name, value in values if value is not None]


def memory(server: Primary) -> MemoryUsage:
    """MemoryUsage of all servers together.

    Raises:
        StoreError: if a server does not answer, or does not permit this user to ask.
    """
    used = empty = 0
    sizes: list[int] = []
    for node in server.nodes():
        fields, found = server.run(partial(_sample_memory, node))
        used += int(fields["used_memory"])
        empty += int(fields["used_memory_startup"])
        sizes += found
    return MemoryUsage(used, empty, sum(sizes) / len(sizes) + _TABLES if sizes else 0.0)


def _scan(node: Node, prefix: str, cursor: bytes) -> tuple[bytes | None, list[bytes]]:
    """The next cursor, `None` after the last page, and names with the prefix."""
    with node() as connection:
        (found,) = execute(connection, [("SCAN", cursor, "MATCH", f"{prefix}*", "COUNT", _PAGE)])
    return None if found[0] == _START else found[0], found[1]


def _get(node: Node, names: list[bytes]) -> list[bytes | None]:
    with node() as connection:
        return execute(connection, (("GET", name) for name in names))


def _sample_memory(node: Node) -> tuple[dict[str, str], list[int]]:
    """A server's INFO about memory, and the sizes of a sample of its records."""
    names: list[bytes] = []
    cursor: bytes | None = _START
    while cursor is not None and len(names) < _SAMPLE:
        cursor, more = _scan(node, RECORD_KEY, cursor)
        names += more[: _SAMPLE - len(names)]
    with node() as connection:
        sizes = execute(connection, (("MEMORY", "USAGE", name) for name in names))
        return info(connection, "memory"), [size for size in sizes if size is not None]


def _key(name: bytes) -> str:
    return name.decode().removeprefix(RECORD_KEY).rpartition("}:")[2]
