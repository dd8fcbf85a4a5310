"""Records in Redis (or Valkey): the truth that workers share.

| key | value | expires |
|---|---|---|
| `xm:p:<pseudonym>` | the record's bytes (`sketches/profile.py`) | when idle for `record_days` |
| `xm:o:<topic>:<partition>` | a partition's state, its offset included | never |
| `xm:c:<topic>:<partition>` | the number of the latest claim to it | never |
| `xm:m` | hash: what each partition has learned of the public | never |
| `xm:d:<pseudonym>` | a decision as JSON | with the decision |

A checkpoint is one MULTI/EXEC: Redis refuses all of it or applies all of it. It goes through only
if its partitions are as this store left them, which it watches:

- A claim that a successor has made since fences it off.
- A state that is not the last one written here means that Redis has lost checkpoints it had
  acknowledged: a failover to a replica that was behind, a power cut between two fsyncs, a backup
  put back. The worker's table is then ahead of the truth, and it has to start anew from there.
- A write that was given up and arrives late, on a connection of its own, changes nothing: the
  state has been written since it looked.

All may be asked again when an answer is lost. The same checkpoint twice leaves what it left once,
and a claim only has to be higher than those before: nobody knows the number that was lost.

Not on Redis Cluster: a checkpoint's keys lie on all its nodes, and there is no transaction over
more than one. A primary with replicas and Sentinel is for this (`primary.py` has the URLs);
`min-replicas-to-write 1` bounds what a failover can lose, and what it loses is read from Kafka
again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from monitor.decisions import Decision
from monitor.errors import FencedError
from monitor.store.base import Checkpoint, fenced
from monitor.store.primary import Command, Primary, execute, info, transact

RECORD, PARTITION, CLAIM, DECISION = "xm:p:", "xm:o:", "xm:c:", "xm:d:"
PUBLICS = "xm:m"
_MGET = 1000  # keys a command, so that Redis serves others in between

log = logging.getLogger(__name__)


class RedisStore:
    """A store on a Redis server.

    Args:
        url: of the server, see `primary.py`.
        record_seconds: life of an idle key's record.
        timeout: seconds to wait for an answer.

    Attributes:
        server: the connections.

    Raises:
        ConfigError: if the url cannot be used.
    """

    def __init__(self, url: str, record_seconds: float, timeout: float = 5.0) -> None:
        self.server = Primary(url, timeout)
        self._record_seconds = int(record_seconds)
        self._states: dict[str, set[bytes | None]] = {}  # that partitions may have, by their name
        self._inspected = False

    def __repr__(self) -> str:
        return f"RedisStore({self.server})"

    def load(self, keys: Sequence[str]) -> list[bytes | None]:
        def mget() -> list[bytes | None]:
            names = [RECORD + key for key in keys]
            parts = [names[i : i + _MGET] for i in range(0, len(names), _MGET)]
            with self.server.connection() as connection:
                return list(chain(*execute(connection, (("MGET", *part) for part in parts))))

        return self.server.ask(mget)

    def claim(self, name: str) -> tuple[int, bytes | None]:
        def transaction() -> tuple[int, bytes | None]:
            with self.server.connection() as connection:
                number, state = transact(
                    connection, [("INCR", CLAIM + name), ("GET", PARTITION + name)]
                )
            return number, state

        self._inspect()
        number, state = self.server.ask(transaction)
        self._states[name] = {state}
        return number, state

    def commit(self, checkpoint: Checkpoint) -> None:
        def transaction() -> None:
            with self.server.connection() as connection:
                self._check_claims(connection, checkpoint.claims)
                transact(connection, self._writes(checkpoint))

        for name, state in checkpoint.partitions.items():
            if name in self._states:  # it may be written although the answer is lost
                self._states[name].add(state)
        self.server.ask(transaction)
        self._states.update({name: {state} for name, state in checkpoint.partitions.items()})

    def _check_claims(self, connection: Any, claims: Mapping[str, int]) -> None:
        """Refuse a checkpoint unless partitions are as they were; watch that they stay so."""
        if not claims:
            return
        keys = [prefix + name for prefix in (CLAIM, PARTITION) for name in claims]
        _, values = execute(connection, [("WATCH", *keys), ("MGET", *keys)])
        states = values[len(claims) :]
        for (name, claim), latest, state in zip(claims.items(), values, states, strict=False):
            if int(latest or 0) != claim:
                raise fenced(name)
            if state not in self._states.get(name, {state}):
                raise FencedError(
                    f"Redis at {self.server} has lost the last checkpoint of {name}: nothing "
                    "was written, and the worker has to start anew from the one before."
                )

    def _writes(self, checkpoint: Checkpoint) -> Iterator[Command]:
        for key, record in checkpoint.records.items():
            yield "SET", RECORD + key, record, "EX", self._record_seconds
        for decision in checkpoint.decisions:
            seconds = max(1, int(decision.seconds))
            yield "SET", DECISION + decision.key, msgspec.json.encode(decision), "EX", seconds
        for name, state in checkpoint.partitions.items():
            yield "SET", PARTITION + name, state
        for name, public in checkpoint.publics.items():
            yield "HSET", PUBLICS, name, public

    def publics(self) -> dict[str, bytes]:
        found = self._ask("HGETALL", PUBLICS)
        return {name.decode(): public for name, public in zip(found[::2], found[1::2], strict=True)}

    def decision(self, key: str) -> Decision | None:
        value = self._ask("GET", DECISION + key)
        return msgspec.json.decode(value, type=Decision) if value else None

    def ping(self) -> None:
        self._ask("SET", "xm:ready", b"", "EX", 60)

    def _ask(self, command: str, key: str, *arguments: bytes | str | int) -> Any:
        def question() -> Any:
            with self.server.connection(key) as connection:
                return execute(connection, [(command, key, *arguments)])[0]

        return self.server.ask(question)

    def _inspect(self) -> None:
        """Warn, once, of a server that drops records when its memory is full."""

        def policy() -> str:
            try:
                with self.server.connection() as connection:
                    return info(connection, "memory").get("maxmemory_policy", "noeviction")
            except ResponseError:  # the user may not ask, or the server does not know
                return "noeviction"

        if not self._inspected:
            found, self._inspected = self.server.ask(policy), True
            if found != "noeviction":
                remedy = "set maxmemory-policy to noeviction: it drops records when it is full"
                log.warning("redis_evicts policy=%s remedy=%r", found, remedy)
