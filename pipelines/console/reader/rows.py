"""Reads the linker's rows of keys, page by page."""

from __future__ import annotations

from collections.abc import Iterator

from monitor.store.connection import execute
from monitor.store.redis import ROWS_KEY, RedisStore

_PAGE = 4_000  # rows, about


def pages(store: RedisStore, partition: str) -> Iterator[dict[str, bytes]]:
    """All rows of a partition, by key. Their order is that of a hash table: the first pages are a
    random sample.

    Raises:
        StoreError: if Redis does not answer.
    """
    server, cursor = store.server, b"0"
    name = ROWS_KEY + (f"{{{partition}}}" if server.is_cluster else partition)

    def page() -> tuple[bytes, list[bytes]]:
        with server.connection(name) as connection:
            (found,) = execute(connection, [("HSCAN", name, cursor, "COUNT", _PAGE)])
        return found[0], found[1]

    while True:
        cursor, pairs = server.run(page)
        yield {key.decode(): row for key, row in zip(pairs[::2], pairs[1::2], strict=True)}
        if cursor == b"0":
            return
