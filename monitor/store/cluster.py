"""Redis Cluster: finds the server that owns a key.

    redis+cluster://[user:password@]host[:6379],host…     rediss+cluster://… over TLS

The hosts are some of the Cluster's servers; any of them knows the others. Options are those of
`connection.py`. A Cluster has database 0 only.

A Cluster keeps each key in one of 16,384 slots, by the hash tag in its name, and each slot on one
primary. A failover or a resharding changes the owner. After an error that may come from such a
change, the owners are fetched again and the operation is repeated. A slot that is being moved
accepts no transaction, so a checkpoint waits for the end of the move.

redis-py's `RedisCluster` finds owners and retries too, but its pipeline takes 16.6 µs of CPU per
record of a checkpoint where this takes 4.4, and 3.1 µs per loaded record where this takes 1.1
(redis-py 8.1, 5,000 records). It watches keys of one slot per pipeline and retries inside each
call, so several partitions' WATCHes before the first MULTI, and one bound on the whole call's time,
would remain ours to write.
"""

from __future__ import annotations

import random
import re
import threading
from collections import defaultdict
from collections.abc import Sequence
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
    QUERY,
    Node,
    Primary,
    execute,
    options_of,
    pooled,
    timeouts,
)
from monitor.store.redis_errors import is_transient

Address = tuple[str, int]

_URL = re.compile(rf"(rediss?)\+cluster://({LOGIN})({HOST}(?:,{HOST})*)/?({QUERY})")
_CLUSTER = re.compile(r"rediss?\+cluster:")
_MOVING = (AskError, TryAgainError, ClusterDownError)  # MOVED is a subclass of AskError


def connect(url: str, timeout: float) -> Primary:
    """Connections to the server or the Cluster of a URL."""
    return (Cluster if _CLUSTER.match(url) else Primary)(url, timeout)


class Cluster(Primary):
    """Connections to the primaries of a Cluster. Threads may share it.

    Arguments and errors are those of `Primary`.
    """

    is_cluster = True

    def _open(self, url: str) -> str:
        found = _URL.fullmatch(url)
        if not found:
            raise ValueError("it has an unknown form")
        scheme, login, hosts, rest = found.groups()
        self._options = options_of(f"{scheme}://{login}any{rest}", self._timeout)
        del self._options["host"]
        addresses = [urlsplit(f"//{host}") for host in hosts.split(",")]
        self._seeds: list[Address] = [(a.hostname or "", a.port or 6379) for a in addresses]
        self._lock = threading.Lock()  # for the two below
        self._pools: dict[Address, redis.ConnectionPool] = {}
        self._owners: list[Address | None] = []  # by slot; empty while unknown
        self._new_pool(self._seeds[0], {}).make_connection()  # checks the options, see `Primary`
        return hosts

    def connection(self, key: str = "") -> AbstractContextManager[Any]:
        slot = key_slot(key.encode())
        owner = self._slot_owners()[slot]
        if owner is None:
            raise ClusterDownError(f"no server has slot {slot}")
        return pooled(self._pool_of(owner))

    def by_server(self, keys: Sequence[str]) -> list[Sequence[str]]:
        owners, groups = self._slot_owners(), defaultdict[Address | None, list[str]](list)
        for key in keys:
            groups[owners[key_slot(key.encode())]].append(key)
        return list(groups.values())

    def nodes(self) -> list[Node]:
        owners = sorted({owner for owner in self.run(self._slot_owners) if owner is not None})
        return [partial(pooled, self._pool_of(owner)) for owner in owners]

    def _may_retry(self, error: RedisError) -> bool:
        with self._lock:
            self._owners = []  # this server may no longer be the owner
        return is_transient(error) or isinstance(error, _MOVING)

    def _slot_owners(self) -> list[Address | None]:
        """The primary of each slot. Forgets the servers that have none any more."""
        with self._lock:
            owners, known = self._owners, [*self._pools]
        if owners:
            return owners
        owners = self._fetch_owners(known)
        present = set(owners)
        with self._lock:
            self._owners = owners
            for address in self._pools.keys() - present:
                del self._pools[address]
        return owners

    def _fetch_owners(self, known: list[Address]) -> list[Address | None]:
        """The primary of each slot, from the first server that answers."""
        addresses = list(dict.fromkeys([*known, *self._seeds]))
        random.shuffle(addresses)
        for left, address in zip(range(len(addresses) - 1, -1, -1), addresses, strict=True):
            try:
                return self._fetch_slots(address, len(addresses))
            except RedisError as error:
                if not left or isinstance(error, ResponseError | AuthenticationError):
                    raise
        raise AssertionError

    def _fetch_slots(self, address: Address, servers: int) -> list[Address | None]:
        with pooled(self._new_pool(address, timeouts(self._timeout / servers))) as server:
            (ranges,) = execute(server, [("CLUSTER", "SLOTS")])
            server.disconnect()
        owners: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, (host, port, *_), *_ in ranges:
            owner = (host.decode() if host else address[0], port)  # without a host: the one asked
            owners[first : last + 1] = [owner] * (last + 1 - first)
        return owners

    def _pool_of(self, address: Address) -> redis.ConnectionPool:
        with self._lock:
            pool = self._pools.get(address)
            if pool is None:
                self._pools[address] = pool = self._new_pool(address, {})
            return pool

    def _new_pool(self, address: Address, options: dict[str, Any]) -> redis.ConnectionPool:
        host, port = address
        return redis.ConnectionPool(host=host, port=port, **self._options | options)
