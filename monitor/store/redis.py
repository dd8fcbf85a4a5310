"""Records in Redis (or Valkey): the truth that workers share.

| key | value | expires |
|---|---|---|
| `xm:p:<pseudonym>` | the record's bytes (`records/profile.py`) | when idle for `record_days` |
| `xm:o:<topic>:<partition>` | a partition's state, its offset included | never |
| `xm:c:<topic>:<partition>` | the number of the latest claim to it | never |
| `xm:f:<topic>:<partition>` | hash: the rows of keys among which campaigns are looked for | never |
| `xm:m` | hash: what each partition has learned of the public | never |
| `xm:d:<pseudonym>` | a decision as JSON | with the decision |
| `xm:d:campaign:<pseudonym>` | the same, of the campaign that a key is part of | likewise |
| `xm:mode:shadow`, `xm:mode:enforce` | set while workers in this mode run | after 30 s |

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

On a Cluster no transaction reaches over two slots, so each partition has one to itself, by its
name in braces: `xm:p:{<topic>:<partition>}:<pseudonym>`, `xm:o:{…}`, `xm:c:{…}`, and a checkpoint
is one MULTI/EXEC a partition. That is enough: nothing that is kept for one partition depends on
what is kept for another, so each is exact by itself, and if only some were written, all are
written again. (A key whose requests come in several partitions, from a gateway that does not key
its messages, has a record in each and is judged by each; elsewhere it has but one.)

Decisions and what is learned of the public are looked up without knowing a partition. Their names
stay as they are, in slots of their own, so they are written beside: after the claims have been
checked and are watched, before any state. So a state never says that a decision was made which is
not there, and one that is there ahead of its state is one that the stream calls for, made again,
the same, by whoever takes over. Someone fenced off in between, a matter of milliseconds, may
leave an older decision than its successor's, until that is renewed or expires.

A primary with Sentinel may lose checkpoints in a failover, and so may a Cluster (`connection.py`
has the URLs); `min-replicas-to-write 1` bounds what that can be, and it is read from Kafka again.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar

import msgspec
from redis.exceptions import ResponseError

from monitor.alerting.decisions import ORIGINS, ActiveDecision, stronger
from monitor.errors import FencedError
from monitor.store.base import Checkpoint, active, fenced
from monitor.store.cluster import connect
from monitor.store.connection import Command, Node, execute, info, transact
from monitor.store.record_block import Block, pack

RECORD, PARTITION, CLAIM, DECISION = "xm:p:", "xm:o:", "xm:c:", "xm:d:"
ROWS, PUBLICS, READY, MODE = "xm:f:", "xm:m", "xm:ready", "xm:mode:"
MODE_SECONDS = 30  # life of a worker's report of its mode
_MGET = 1000  # keys a command, so that Redis serves others in between

log = logging.getLogger(__name__)
_T = TypeVar("_T")


class RedisStore:
    """A store on a Redis server or Cluster.

    Args:
        url: of the server, see `connection.py`.
        record_seconds: life of an idle key's record.
        timeout: seconds to wait for an answer.

    Attributes:
        server: the connections.

    Raises:
        ConfigError: if the url cannot be used.
    """

    def __init__(self, url: str, record_seconds: float, timeout: float = 5.0) -> None:
        self.server = connect(url, timeout)
        self._record_seconds = int(record_seconds)
        self._states: dict[str, set[bytes | None]] = {}  # that partitions may have, by their name
        self._inspected = False

    def __repr__(self) -> str:
        return f"RedisStore({self.server})"

    def names(self, partition: str, keys: Sequence[str]) -> Sequence[str]:
        return [f"{{{partition}}}:{key}" for key in keys] if self.server.slotted else keys

    def load(self, names: Sequence[str]) -> list[bytes | None]:
        def mget() -> list[bytes | None]:
            keys = [RECORD + name for name in names]
            parts = [keys[i : i + _MGET] for i in range(0, len(keys), _MGET)]
            with self.server.connection(keys[0]) as connection:
                return list(chain(*execute(connection, (("MGET", *part) for part in parts))))

        return self.server.ask(mget) if names else []

    def claim(self, name: str) -> tuple[int, bytes | None]:
        def transaction() -> tuple[int, bytes | None]:
            with self.server.connection(place) as connection:
                number, state = transact(
                    connection, [("INCR", CLAIM + place), ("GET", PARTITION + place)]
                )
            return number, state

        place = self._place(name)
        self._inspect()
        number, state = self.server.ask(transaction)
        self._states[name] = {state}
        return number, state

    def commit(self, checkpoint: Checkpoint) -> None:
        def write() -> None:
            with ExitStack() as stack:
                connections = [
                    stack.enter_context(self.server.connection(place)) for place in parts
                ]
                for connection, part in zip(connections, parts.values(), strict=True):
                    self._check_claims(connection, part.claims)
                for command in beside:
                    with self.server.connection(command[1]) as connection:
                        execute(connection, [command])
                for connection, part in zip(connections, parts.values(), strict=True):
                    transact(connection, self._writes(part))

        parts, beside = self._split(checkpoint)
        for name, state in checkpoint.partitions.items():
            if name in self._states:  # it may be written although the answer is lost
                self._states[name].add(state)
        self.server.ask(write)
        self._states.update({name: {state} for name, state in checkpoint.partitions.items()})

    def _split(self, checkpoint: Checkpoint) -> tuple[dict[str, Checkpoint], list[Command]]:
        """What is written in one transaction each, by its place, and what beside them."""
        if not self.server.slotted:
            return {"": checkpoint}, []
        parts: dict[str, Checkpoint] = defaultdict(Checkpoint)
        records: dict[str, dict[str, bytes]] = defaultdict(dict)
        for name, record in checkpoint.records.items():
            records[self._place_of(name)][name] = record
        for place, some in records.items():
            parts[place].records = some
        for name, state in checkpoint.partitions.items():
            parts[self._place(name)].partitions[name] = state
        for name, rows in checkpoint.rows.items():
            parts[self._place(name)].rows[name] = rows
        for name, claim in checkpoint.claims.items():
            parts[self._place(name)].claims[name] = claim
        beside = Checkpoint(
            decisions=checkpoint.decisions,
            arrivals=checkpoint.arrivals,
            baselines=checkpoint.baselines,
        )
        return parts, list(self._writes(beside))

    def _place(self, partition: str) -> str:
        """How a partition's keys end, which on a Cluster says where they are."""
        return f"{{{partition}}}" if self.server.slotted else partition

    def _place_of(self, name: str) -> str:
        """The place of the record of this name."""
        return name[: name.index("}") + 1] if self.server.slotted else ""

    def _check_claims(self, connection: Any, claims: Mapping[str, int]) -> None:
        """Refuse a checkpoint unless partitions are as they were; watch that they stay so."""
        if not claims:
            return
        keys = [prefix + self._place(name) for prefix in (CLAIM, PARTITION) for name in claims]
        _, values = execute(connection, [("WATCH", *keys), ("MGET", *keys)])
        states = values[len(claims) :]
        for (name, claim), latest, state in zip(claims.items(), values, states, strict=False):
            if int(latest or 0) != claim:
                raise fenced(name)
            if state not in self._states.get(name, {state}):
                raise FencedError(
                    f"Redis at {self.server} has lost the last checkpoint of {name}: nothing "
                    "of it was written, and the worker has to start anew from the one before."
                )

    def _writes(self, checkpoint: Checkpoint) -> Iterator[Command]:
        if isinstance(checkpoint.records, Block):
            yield from pack(checkpoint.records, RECORD, self._record_seconds)
        else:
            for name, record in checkpoint.records.items():
                yield "SET", RECORD + name, record, "EX", self._record_seconds
        now = time.time()
        for decision in active(checkpoint, now):
            milliseconds = max(1, int(1000 * (decision.until - now)))
            name = decision_name(decision.origin, decision.key)
            yield "SET", name, msgspec.json.encode(decision), "PX", milliseconds
        for name, state in checkpoint.partitions.items():
            yield "SET", PARTITION + self._place(name), state
        for name, rows in checkpoint.rows.items():
            kept = {key: row for key, row in rows.items() if row is not None}
            for some in _parts(kept.items()):
                yield "HSET", ROWS + self._place(name), *chain.from_iterable(some)
            for gone in _parts(rows.keys() - kept.keys()):
                yield "HDEL", ROWS + self._place(name), *gone
        for name, public in checkpoint.baselines.items():
            yield "HSET", PUBLICS, name, public

    def baselines(self) -> dict[str, bytes]:
        found = self._ask("HGETALL", PUBLICS)
        return {name.decode(): public for name, public in zip(found[::2], found[1::2], strict=True)}

    def rows(self, partition: str) -> dict[str, bytes]:
        found, cursor = dict[str, bytes](), b"0"
        while True:
            cursor, page = self._ask("HSCAN", ROWS + self._place(partition), cursor, "COUNT", _MGET)
            found |= {k.decode(): row for k, row in zip(page[::2], page[1::2], strict=True)}
            if cursor == b"0":
                return found

    def decision(self, key: str) -> ActiveDecision | None:
        values = [self._ask("GET", decision_name(origin, key)) for origin in ORIGINS]
        return stronger(msgspec.json.decode(v, type=ActiveDecision) for v in values if v)

    def publish_shadow(self, shadow: bool) -> None:
        """Report for MODE_SECONDS that a worker runs, in shadow mode or not."""
        self._ask("SET", _mode_name(shadow), b"1", "EX", MODE_SECONDS)

    def shadow(self) -> bool | None:
        """Whether the running workers are in shadow mode; `None` if none reports or they differ."""
        shadow, enforce = (self._ask("GET", _mode_name(mode)) is not None for mode in (True, False))
        return shadow if shadow != enforce else None

    def state(self, name: str) -> bytes | None:
        """A partition's state as the last checkpoint left it, without a claim to it."""
        state: bytes | None = self._ask("GET", PARTITION + self._place(name))
        return state

    def ping(self) -> None:
        # On a Cluster where the checkpoints go: one server may be away while others are there.
        places = [f":{self._place(name)}" for name in self._states] if self.server.slotted else []
        for place in places or [""]:
            self._ask("SET", READY + place, b"", "EX", 60)

    def _ask(self, command: str, key: str, *arguments: bytes | str | int) -> Any:
        def question() -> Any:
            with self.server.connection(key) as connection:
                return execute(connection, [(command, key, *arguments)])[0]

        return self.server.ask(question)

    def _inspect(self) -> None:
        """Warn, once, of servers that drop records when their memory is full."""

        def policy(node: Node) -> str:
            try:
                with node() as connection:
                    return info(connection, "memory").get("maxmemory_policy", "noeviction")
            except ResponseError:  # the user may not ask, or the server does not know
                return "noeviction"

        if not self._inspected:
            nodes = self.server.nodes()
            found = {self.server.ask(partial(policy, node)) for node in nodes} - {"noeviction"}
            self._inspected = True
            if found:
                remedy = "set maxmemory-policy to noeviction: it drops records when it is full"
                log.warning("redis_evicts policy=%s remedy=%r", ",".join(sorted(found)), remedy)


def decision_name(origin: str, key: str) -> str:
    """The key of a decision: what detectors and campaigns decide stands side by side."""
    return DECISION + key if origin == ORIGINS[0] else f"{DECISION}{origin}:{key}"


def _mode_name(shadow: bool) -> str:
    return MODE + ("shadow" if shadow else "enforce")


def _parts(items: Iterable[_T]) -> Iterator[list[_T]]:
    """Items in parts that one command takes."""
    items = iter(items)
    while part := list(islice(items, _MGET)):
        yield part
