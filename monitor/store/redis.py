"""The store in Redis (or Valkey), shared by all workers.

| key | value | expires |
|---|---|---|
| `xm:p:<pseudonym>` | a record (`records/profile.py`) without its zeros | idle for `record_days` |
| `xm:o:<topic>:<partition>` | the state of a partition, with its offset | never |
| `xm:c:<topic>:<partition>` | the number of the latest claim to it | never |
| `xm:f:<topic>:<partition>` | hash: rows of the keys that the linker compares | never |
| `xm:m` | hash: the baseline that each partition has learned | never |
| `xm:d:<pseudonym>` | a detector's decision as JSON | when the decision ends |
| `xm:d:campaign:<pseudonym>` | a campaign's decision as JSON | when the decision ends |
| `xm:d:account:<pseudonym>` | an account's decision on one of its keys | when the decision ends |
| `xm:d:operator:<pseudonym>` | a person's decision (`control.py`) | when the decision ends |
| `xm:caps` | hash: what the caps of an hour count (`alerting/caps.py`) | never |
| `xm:traffic` | hash: requests of each partition in the last hour | never |
| `xm:tenant:<pseudonym>` | the tenant of an account (`operate/tenants.py`) | see there |
| `xm:feed` | stream: changes of decisions (`feed.py`) | the oldest of 100,000 entries |
| `xm:mode:shadow`, `xm:mode:enforce` | set while workers in this mode run | after 30 s |

A checkpoint is one MULTI/EXEC: Redis applies all of it or nothing. It WATCHes the claims and states
of its partitions and fails in three cases:

- A successor has claimed a partition. This worker is fenced off.
- A state is not the last one that this store wrote. Redis has lost a checkpoint that it had
  acknowledged: a failover to a replica that was behind, a power cut between two fsyncs, a restored
  backup. The worker's memory is ahead of Redis, so it must restart from the older checkpoint.
- An earlier attempt, given up after a timeout, arrives late. The state has changed since its WATCH.

Every call may be repeated when its answer is lost. The same checkpoint written twice has the effect
of one, and a claim only has to be higher than those before.

On a Cluster a transaction reaches one slot only. Each partition has its own slot, by a hash tag:
`xm:p:{<topic>:<partition>}:<pseudonym>`, `xm:o:{…}`, `xm:c:{…}`, `xm:f:{…}`; and a checkpoint is
one MULTI/EXEC per partition. No partition's data depends on another's, so each is exact by itself;
if only some are written, all are written again. A key whose requests arrive in several partitions
has one record in each, and detectors evaluate each record by itself.

Decisions and baselines are read without knowing the partition, so on a Cluster they have no hash
tag. They are written between the WATCH of the claims and the first MULTI. So a state never implies
a decision that is not there. A decision that is there before its state is repeated, equal, by
whoever takes over. A worker that is fenced off within these milliseconds may leave an older
decision than its successor's until that one is renewed or expires.

A failover under Sentinel or in a Cluster may lose checkpoints. `min-replicas-to-write 1` bounds the
loss, and the monitor reads the lost part from Kafka again.
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

from monitor.alerting.caps import Caps, is_capped_action
from monitor.alerting.decisions import ORIGINS, ActiveDecision
from monitor.errors import FencedError
from monitor.store.base import Checkpoint, active, fenced, name_in
from monitor.store.cluster import connect
from monitor.store.connection import Command, Node, execute, info, transact
from monitor.store.feed import audit_entry, feed_entry
from monitor.store.record_block import Block, pack

RECORD_KEY, PARTITION_KEY, CLAIM_KEY, DECISION_KEY = "xm:p:", "xm:o:", "xm:c:", "xm:d:"
ROWS_KEY, BASELINES_KEY, READY_KEY, MODE_KEY = "xm:f:", "xm:m", "xm:ready", "xm:mode:"
CAPS_KEY, TRAFFIC_KEY, TENANT_KEY = "xm:caps", "xm:traffic", "xm:tenant:"
MODE_SECONDS = 30  # life of a worker's report of its mode
_CHUNK = 1000  # keys per command, so that Redis serves other clients in between

log = logging.getLogger(__name__)
_T = TypeVar("_T")


class RedisStore:
    """A store on a Redis server or Cluster. Threads may share it.

    Args:
        url: of the server, see `connection.py`.
        record_seconds: time until an idle key's record expires.
        timeout: seconds to wait for an answer.
        caps: of the decisions that checkpoints put into force; default: none.

    Attributes:
        server: the connections.

    Raises:
        ConfigError: if the url cannot be used.
    """

    def __init__(
        self, url: str, record_seconds: float, timeout: float = 5.0, caps: Caps | None = None
    ) -> None:
        self.server = connect(url, timeout)
        self._caps = caps
        self._record_seconds = int(record_seconds)
        self._states: dict[str, set[bytes | None]] = {}  # by partition, what Redis may have
        self._checked_eviction = False

    def __repr__(self) -> str:
        return f"RedisStore({self.server})"

    def names(self, partition: str, keys: Sequence[str]) -> Sequence[str]:
        return [name_in(partition, key) for key in keys] if self.server.is_cluster else keys

    def load(self, names: Sequence[str]) -> list[bytes | None]:
        def mget() -> list[bytes | None]:
            keys = [RECORD_KEY + name for name in names]
            parts = [keys[i : i + _CHUNK] for i in range(0, len(keys), _CHUNK)]
            with self.server.connection(keys[0]) as connection:
                return list(chain(*execute(connection, (("MGET", *part) for part in parts))))

        return self.server.run(mget) if names else []

    def claim(self, name: str) -> tuple[int, bytes | None]:
        def transaction() -> tuple[int, bytes | None]:
            with self.server.connection(tag) as connection:
                number, state = transact(
                    connection, [("INCR", CLAIM_KEY + tag), ("GET", PARTITION_KEY + tag)]
                )
            return number, state

        tag = self._tag(name)
        self._warn_of_eviction()
        number, state = self.server.run(transaction)
        self._states[name] = {state}
        return number, state

    def commit(self, checkpoint: Checkpoint) -> None:
        def write() -> None:
            with ExitStack() as stack:
                connections = [stack.enter_context(self.server.connection(tag)) for tag in parts]
                for connection, part in zip(connections, parts.values(), strict=True):
                    self._check_claims(connection, part.claims)
                for command in outside:
                    with self.server.connection(command[1]) as connection:
                        execute(connection, [command])
                for connection, part in zip(connections, parts.values(), strict=True):
                    transact(connection, [*self._commands(part), *inside])

        parts, shared = self._by_tag(checkpoint), list(self._shared_commands(checkpoint))
        inside, outside = ([], shared) if self.server.is_cluster else (shared, [])
        for name, state in checkpoint.partitions.items():
            if name in self._states:  # Redis may apply it although the answer is lost
                self._states[name].add(state)
        self.server.run(write)
        self._states.update({name: {state} for name, state in checkpoint.partitions.items()})

    def _by_tag(self, checkpoint: Checkpoint) -> dict[str, Checkpoint]:
        """The transactions of a checkpoint by hash tag."""
        if not self.server.is_cluster:
            return {"": checkpoint}
        parts: dict[str, Checkpoint] = defaultdict(Checkpoint)
        records: dict[str, dict[str, bytes]] = defaultdict(dict)
        for name, record in checkpoint.records.items():
            records[_tag_of(name)][name] = record
        for tag, group in records.items():
            parts[tag].records = group
        for name, state in checkpoint.partitions.items():
            parts[self._tag(name)].partitions[name] = state
        for name, rows in checkpoint.rows.items():
            parts[self._tag(name)].rows[name] = rows
        for name, claim in checkpoint.claims.items():
            parts[self._tag(name)].claims[name] = claim
        return parts

    def _tag(self, partition: str) -> str:
        """The end of a partition's keys; on a Cluster a hash tag."""
        return f"{{{partition}}}" if self.server.is_cluster else partition

    def _check_claims(self, connection: Any, claims: Mapping[str, int]) -> None:
        """WATCH claims and states, and raise unless they are as this store left them."""
        if not claims:
            return
        keys = [
            prefix + self._tag(name) for prefix in (CLAIM_KEY, PARTITION_KEY) for name in claims
        ]
        _, values = execute(connection, [("WATCH", *keys), ("MGET", *keys)])
        states = values[len(claims) :]
        for (name, claim), latest, state in zip(claims.items(), values, states, strict=False):
            if latest is None:
                raise FencedError(
                    f"Redis at {self.server} has lost its data: the claim to {name} is gone. "
                    "Nothing was written; the worker restarts and reads again what Kafka has."
                )
            if int(latest) != claim:
                raise fenced(name)
            if state not in self._states.get(name, {state}):
                raise FencedError(
                    f"Redis at {self.server} has lost the last checkpoint of {name}. Nothing was "
                    "written; the worker restarts from the checkpoint before it."
                )

    def _commands(self, checkpoint: Checkpoint) -> Iterator[Command]:
        """The commands whose keys have a partition's tag."""
        if isinstance(checkpoint.records, Block):
            yield from pack(checkpoint.records, RECORD_KEY, self._record_seconds)
        else:
            for name, record in checkpoint.records.items():
                yield "SET", RECORD_KEY + name, record, "EX", self._record_seconds
        for name, state in checkpoint.partitions.items():
            yield "SET", PARTITION_KEY + self._tag(name), state
        for name, rows in checkpoint.rows.items():
            kept = {key: row for key, row in rows.items() if row is not None}
            for chunk in _chunks(kept.items()):
                yield "HSET", ROWS_KEY + self._tag(name), *chain.from_iterable(chunk)
            for gone in _chunks(rows.keys() - kept.keys()):
                yield "HDEL", ROWS_KEY + self._tag(name), *gone

    def _shared_commands(self, checkpoint: Checkpoint) -> Iterator[Command]:
        """The commands whose keys belong to no partition."""
        now = time.time()
        decisions, remembered = self._capped(list(active(checkpoint, now)), now)
        for decision in decisions:
            milliseconds = max(1, int(1000 * (decision.until - now)))
            name = decision_name(decision.origin, decision.key)
            value = msgspec.json.encode(decision)
            yield "SET", name, value, "PX", milliseconds
            yield feed_entry(name, value)
        yield from remembered
        for name, baseline in checkpoint.baselines.items():
            yield "HSET", BASELINES_KEY, name, baseline
        for name, requests in checkpoint.traffic.items():
            yield "HSET", TRAFFIC_KEY, name, requests
        for account, tenant in checkpoint.tenants.items():
            yield "SET", TENANT_KEY + account, tenant, "EX", self._record_seconds * 5 // 4

    def _capped(
        self, decisions: list[ActiveDecision], now: float
    ) -> tuple[list[ActiveDecision], list[Command]]:
        """The decisions within the caps, and the commands that remember them."""
        keys = list({each.key: None for each in decisions if is_capped_action(each.action)})
        if self._caps is None or not keys:
            return decisions, []
        in_force = dict(zip(keys, self.in_force(keys), strict=True))
        traffic = sum(map(int, self._hash(TRAFFIC_KEY).values()))
        decisions, notes = self._caps.limit(decisions, in_force, self._hash(CAPS_KEY), traffic, now)
        commands: list[Command] = [("HDEL", CAPS_KEY, *gone) for gone in _chunks(notes.gone)]
        if notes.added:
            commands.append(("HSET", CAPS_KEY, *chain.from_iterable(notes.added.items())))
        if notes.change is not None:
            commands.append(audit_entry(notes.change))
        return decisions, commands

    def baselines(self) -> dict[str, bytes]:
        return self._hash(BASELINES_KEY)

    def rows(self, partition: str) -> dict[str, bytes]:
        found, cursor, key = dict[str, bytes](), b"0", ROWS_KEY + self._tag(partition)
        while True:
            cursor, page = self._call("HSCAN", key, cursor, "COUNT", _CHUNK)
            found |= {k.decode(): row for k, row in zip(page[::2], page[1::2], strict=True)}
            if cursor == b"0":
                return found

    def in_force(self, keys: Sequence[str]) -> list[list[ActiveDecision]]:
        def read() -> dict[str, bytes | None]:
            values: dict[str, bytes | None] = {}
            for group in self.server.by_server(names):
                with self.server.connection(group[0]) as connection:
                    values |= zip(
                        group, execute(connection, [("GET", name) for name in group]), strict=True
                    )
            return values

        names = [decision_name(origin, key) for key in keys for origin in ORIGINS]
        values = self.server.run(read)
        found = (
            [read_decision(values[decision_name(origin, key)], key) for origin in ORIGINS]
            for key in keys
        )
        return [[decision for decision in each if decision] for each in found]

    def publish_shadow(self, shadow: bool) -> None:
        """Report for MODE_SECONDS that a worker runs, in shadow mode or not."""
        self._call("SET", _mode_name(shadow), b"1", "EX", MODE_SECONDS)

    def shadow(self) -> bool | None:
        """Whether the running workers are in shadow mode; `None` if none reports or they differ."""
        shadow, enforce = (
            self._call("GET", _mode_name(mode)) is not None for mode in (True, False)
        )
        return shadow if shadow != enforce else None

    def state(self, name: str) -> bytes | None:
        """A partition's state as the last checkpoint wrote it, without a claim."""
        state: bytes | None = self._call("GET", PARTITION_KEY + self._tag(name))
        return state

    def read_together(
        self, partition: str, records: Sequence[str] = (), rows: Sequence[str] | None = ()
    ) -> tuple[bytes | None, list[bytes | None], dict[str, bytes]]:
        """A partition's state with records and rows as of the same checkpoint, without a claim.

        Args:
            records: their names.
            rows: the keys of rows of a partition of fingerprints; `None` for all, which holds
                Redis up if there are many.
        """

        def read() -> list[Any]:
            with self.server.connection(tag) as connection:
                return transact(connection, commands)

        tag = self._tag(partition)
        commands: list[Command] = [("GET", PARTITION_KEY + tag)]
        if records:
            commands.append(("MGET", *(RECORD_KEY + name for name in records)))
        if rows:
            commands.append(("HMGET", ROWS_KEY + tag, *rows))
        elif rows is None:
            commands.append(("HGETALL", ROWS_KEY + tag))
        state, *answers = self.server.run(read)
        found = answers.pop(0) if records else []
        if rows is None:
            pairs = zip(answers[0][::2], answers[0][1::2], strict=True)
            return state, found, {key.decode(): row for key, row in pairs}
        values = zip(rows, answers[0], strict=True) if rows else ()
        return state, found, {key: row for key, row in values if row is not None}

    def count_rows(self, partition: str) -> int:
        """The number of rows of a partition of fingerprints."""
        return int(self._call("HLEN", ROWS_KEY + self._tag(partition)))

    def ping(self) -> None:
        # On a Cluster, in the slots of the partitions: other servers may be up.
        names = tuple(self._states) if self.server.is_cluster else ()
        for end in [f":{self._tag(name)}" for name in names] or [""]:
            self._call("SET", READY_KEY + end, b"", "EX", 60)

    def _hash(self, key: str) -> dict[str, bytes]:
        found = self._call("HGETALL", key)
        return {name.decode(): value for name, value in zip(found[::2], found[1::2], strict=True)}

    def _call(self, command: str, key: str, *arguments: bytes | str | int) -> Any:
        def call() -> Any:
            with self.server.connection(key) as connection:
                return execute(connection, [(command, key, *arguments)])[0]

        return self.server.run(call)

    def _warn_of_eviction(self) -> None:
        """Log once if a server evicts records when its memory is full."""

        def policy(node: Node) -> str:
            try:
                with node() as connection:
                    return info(connection, "memory").get("maxmemory_policy", "noeviction")
            except ResponseError:  # INFO is not permitted, or disabled
                return "noeviction"

        if not self._checked_eviction:
            nodes = self.server.nodes()
            found = {self.server.run(partial(policy, node)) for node in nodes} - {"noeviction"}
            self._checked_eviction = True
            if found:
                remedy = "set maxmemory-policy to noeviction, or a full Redis deletes records"
                log.warning("redis_evicts policy=%s remedy=%r", ",".join(sorted(found)), remedy)


def decision_name(origin: str, key: str) -> str:
    """The Redis key of a decision; detectors and campaigns have one each."""
    return DECISION_KEY + key if origin == ORIGINS[0] else f"{DECISION_KEY}{origin}:{key}"


def read_decision(value: bytes | None, key: str) -> ActiveDecision | None:
    """A decision from its JSON; one of a newer version is logged and left out."""
    try:
        return msgspec.json.decode(value, type=ActiveDecision) if value else None
    except msgspec.MsgspecError as error:
        log.error("decision_unreadable key=%s reason=%r", key, str(error))
        return None


def _tag_of(name: str) -> str:
    """The hash tag in the name of a record on a Cluster."""
    return name[: name.index("}") + 1]


def _mode_name(shadow: bool) -> str:
    return MODE_KEY + ("shadow" if shadow else "enforce")


def _chunks(items: Iterable[_T]) -> Iterator[list[_T]]:
    """Items in lists of a size that one command takes."""
    items = iter(items)
    while chunk := list(islice(items, _CHUNK)):
        yield chunk
