"""Redis Cluster: which of its servers has a key.

    redis+cluster://[user:password@]host[:6379],host…     rediss+cluster://… over TLS

The hosts are some of the Cluster's servers, asked in turn for all others. Options are those of
`connection.py`; there is no database but 0.

A Cluster keeps each key in one of 16,384 slots, by the part of its name in braces, and each slot
on one primary, which may change: a failover, or slots that are moved. Whatever hints at a change
is tried again after another look at who has what. While a slot is being moved it takes no
transaction, and what belongs into it has to wait.
"""

from __future__ import annotations

import random
import re
from contextlib import AbstractContextManager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from monitor.store.connection import (
    HOST,
    LOGIN,
    OPTIONS,
    Node,
    Primary,
    borrowed,
    execute,
    options_of,
    waits,
)
from monitor.store.redis_errors import passes

Address = tuple[str, int]

_URL = re.compile(rf"(rediss?)\+cluster://({LOGIN})({HOST}(?:,{HOST})*)/?({OPTIONS})")
_CLUSTER = re.compile(r"rediss?\+cluster:")
_MOVING = (AskError, TryAgainError, ClusterDownError)  # MOVED is an AskError, too


def connect(url: str, timeout: float) -> Primary:
    """Connections to what a URL names."""
    return (Cluster if _CLUSTER.match(url) else Primary)(url, timeout)


class Cluster(Primary):
    """Connections to the servers of a Cluster that take writes at present.

    Arguments and errors are those of `Primary`.
    """

    slotted = True

    def _open(self, url: str) -> str:
        found = _URL.fullmatch(url)
        if not found:
            raise ValueError("it has another form")
        scheme, login, hosts, rest = found.groups()
        self._options = options_of(f"{scheme}://{login}any{rest}", self._timeout)
        del self._options["host"]
        addresses = [urlsplit(f"//{host}") for host in hosts.split(",")]
        self._seeds: list[Address] = [(a.hostname or "", a.port or 6379) for a in addresses]
        self._pools: dict[Address, redis.ConnectionPool] = {}
        self._owners: list[Address | None] = []  # by slot; empty while not known
        self._new_pool(self._seeds[0], {}).make_connection()  # looks at the options, see `Primary`
        return hosts

    def connection(self, key: str = "") -> AbstractContextManager[Any]:
        slot = key_slot(key.encode())
        owner = self._map()[slot]
        if owner is None:
            raise ClusterDownError(f"nobody has slot {slot}")
        return borrowed(self._pool_of(owner))

    def nodes(self) -> list[Node]:
        owners = sorted({owner for owner in self.ask(self._map) if owner is not None})
        return [partial(borrowed, self._pool_of(owner)) for owner in owners]

    def _passes(self, error: RedisError) -> bool:
        self._owners = []  # it may have come from asking the wrong one
        return passes(error) or isinstance(error, _MOVING)

    def _map(self) -> list[Address | None]:
        owners = self._owners
        if not owners:
            self._owners = owners = self._look()
            present = set(owners)
            self._pools = {at: pool for at, pool in self._pools.items() if at in present}
        return owners

    def _look(self) -> list[Address | None]:
        """Who has each slot, asked of one server after the other until one answers."""
        known = list(dict.fromkeys([*self._pools, *self._seeds]))
        random.shuffle(known)
        for left, address in zip(range(len(known) - 1, -1, -1), known, strict=True):
            try:
                return self._ask_for_slots(address, len(known))
            except RedisError as error:
                if not left or isinstance(error, ResponseError | AuthenticationError):
                    raise
        raise AssertionError

    def _ask_for_slots(self, address: Address, servers: int) -> list[Address | None]:
        with borrowed(self._new_pool(address, waits(self._timeout / servers))) as server:
            (ranges,) = execute(server, [("CLUSTER", "SLOTS")])
            server.disconnect()
        owners: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, (host, port, *_), *_ in ranges:
            owner = (host.decode() if host else address[0], port)  # unnamed: the one asked
            owners[first : last + 1] = [owner] * (last + 1 - first)
        return owners

    def _pool_of(self, address: Address) -> redis.ConnectionPool:
        pool = self._pools.get(address)
        if pool is None:
            self._pools[address] = pool = self._new_pool(address, {})
        return pool

    def _new_pool(self, address: Address, chosen: dict[str, Any]) -> redis.ConnectionPool:
        host, port = address
        return redis.ConnectionPool(host=host, port=port, **self._options | chosen)
