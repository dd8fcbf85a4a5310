"""Which processes run: each writes a heartbeat to Redis.

| key | value | expires |
|---|---|---|
| `xm:process:<id>` | a heartbeat as JSON | KEPT_SECONDS after the last one |
| `xm:processes` | sorted set: process id → time of its last heartbeat | pruned by writers |

A process that stops deletes its heartbeat. That of a killed process remains until it expires, so
people see what is missing. At most MOST_PROCESSES are kept, with at most _MOST_PARTITIONS each.
"""

from __future__ import annotations

from typing import Any

import msgspec

from monitor.store.cluster import connect
from monitor.store.connection import Command, execute, info

PROCESSES_KEY, PROCESS_KEY = "xm:processes", "xm:process:"
BEAT_SECONDS = 5.0  # between two heartbeats
ALIVE_SECONDS = 30.0  # age of a heartbeat after which its process counts as gone
KEPT_SECONDS = 3600
MOST_PROCESSES = 1_000
_MOST_PARTITIONS, _MOST_RECEIVERS = 256, 64  # in one heartbeat
_TEXT = 300  # characters of a reason


class Place(msgspec.Struct, frozen=True):
    """Where a process is in a partition of its input topic.

    Attributes:
        name: "<topic>:<number>".
        offset: the first message that it has not observed.
        lag: messages that it has not observed; `None` if Kafka has not said.
        clock: event time reached, epoch seconds; 0 before the first event.
    """

    name: str
    offset: int
    lag: int | None
    clock: float


class Model(msgspec.Struct, frozen=True):
    """A file that a process works with.

    Attributes:
        name: its path; empty for the one in the package.
        digest: first 12 hexadecimal digits of its SHA-256.
        modified: when it was written, epoch seconds; 0 for the one in the package.
    """

    name: str
    digest: str
    modified: float = 0.0


class ReceiverHealth(msgspec.Struct, frozen=True):
    """A receiver of alerts, as a process with the role `deliver` sees it.

    Attributes:
        up: False after some failures in a row.
        waiting: alerts in its queue.
        accepted_at: when it last accepted an alert, epoch seconds; 0: not since the start.
        reason: of the latest failure, empty if the last attempt succeeded.
    """

    name: str
    type: str
    up: bool
    waiting: int = 0
    accepted_at: float = 0.0
    reason: str = ""


class LastError(msgspec.Struct, frozen=True):
    """The latest line that a process has logged as an error.

    Attributes:
        at: wall-clock time, epoch seconds.
    """

    at: float
    text: str


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A heartbeat.

    Attributes:
        id: of the process, different from all others.
        started, at: of the process and of this heartbeat, by its clock, epoch seconds.
        skew: seconds that its clock is ahead of Redis's; `None` if Redis does not say.
        group: its consumer group; empty if it has none.
        trouble: why it is not ready; empty if it is.
        partitions: of its input topic.
        open_alerts: by kind and severity, of its partitions.
        enforced: with the role `decide`, subjects by the action that gateways enforce.
        settings: those that change what it does, without secrets.
        settings_digest: of all settings but those of its own address.
        secret: keyed hash of a constant with its identity secret, to compare with another's.
        models: by setting, the files that it works with.
        drift: population stability index (PSI) of each statistic against the reference.
        receivers: of alerts.
    """

    id: str
    host: str
    pid: int
    roles: list[str]
    version: str
    started: float
    at: float
    skew: float | None = None
    group: str = ""
    trouble: str = ""
    partitions: list[Place] = []
    open_alerts: dict[str, dict[str, int]] = {}
    enforced: dict[str, int] = {}
    settings: dict[str, str] = {}
    settings_digest: str = ""
    secret: str = ""
    models: dict[str, Model] = {}
    drift: dict[str, float] = {}
    receivers: list[ReceiverHealth] = []
    last_error: LastError | None = None

    def is_alive(self, now: float) -> bool:
        """Whether its last heartbeat is recent, at a wall-clock time."""
        return now - self.at < ALIVE_SECONDS

    @property
    def lag(self) -> int:
        """Messages that it has not observed, as far as Kafka has said."""
        return sum(each.lag or 0 for each in self.partitions)


class ProcessStore:
    """Heartbeats in Redis. Threads may share it. Every method may raise `StoreError`.

    Args:
        url: of the server, see `connection.py`.
        timeout: seconds to wait for an answer.
    """

    def __init__(self, url: str, timeout: float = 2.0) -> None:
        self.server = connect(url, timeout)

    def beat(self, process: Process) -> None:
        """Write a heartbeat, and forget the oldest processes beyond the limits."""
        value = msgspec.json.encode(_bounded(process))
        self._call("SET", PROCESS_KEY + process.id, value, "EX", KEPT_SECONDS)
        self._call("ZADD", PROCESSES_KEY, process.at, process.id)
        self._call("ZREMRANGEBYSCORE", PROCESSES_KEY, "-inf", process.at - KEPT_SECONDS)
        self._call("ZREMRANGEBYRANK", PROCESSES_KEY, 0, -MOST_PROCESSES - 1)

    def forget(self, id: str) -> None:
        """Delete the heartbeat of a process that stops; later writers prune its id."""
        self._call("DEL", PROCESS_KEY + id)

    def read(self) -> list[Process]:
        """The latest heartbeats, the oldest process first, without unreadable ones."""
        ids = self._call("ZRANGE", PROCESSES_KEY, 0, -1)
        names = [PROCESS_KEY + id.decode() for id in ids]
        found = (_read(value) for value in self._get(names))
        return sorted((each for each in found if each is not None), key=lambda each: each.started)

    def clock(self) -> float | None:
        """The wall-clock time of a server, epoch seconds; `None` if it does not say."""

        def ask() -> dict[str, str]:
            with self.server.connection(PROCESSES_KEY) as connection:
                return info(connection, "server")

        microseconds = self.server.run(ask).get("server_time_usec")
        return None if microseconds is None else int(microseconds) / 1e6

    def _get(self, names: list[str]) -> list[bytes | None]:
        def get() -> list[bytes | None]:
            values: list[bytes | None] = []
            for group in self.server.by_server(names):
                with self.server.connection(group[0]) as connection:
                    values += execute(connection, [("GET", name) for name in group])
            return values

        return self.server.run(get)

    def _call(self, *command: Any) -> Any:
        def call() -> Any:
            sent: Command = command
            with self.server.connection(command[1]) as connection:
                return execute(connection, [sent])[0]

        return self.server.run(call)


def _bounded(process: Process) -> Process:
    """A heartbeat with a limited number of partitions and receivers, and with short texts."""
    error = process.last_error
    return msgspec.structs.replace(
        process,
        trouble=process.trouble[:_TEXT],
        partitions=process.partitions[:_MOST_PARTITIONS],
        receivers=[
            msgspec.structs.replace(each, reason=each.reason[:_TEXT])
            for each in process.receivers[:_MOST_RECEIVERS]
        ],
        last_error=None if error is None else LastError(error.at, error.text[:_TEXT]),
    )


def _read(value: bytes | None) -> Process | None:
    """A heartbeat from its JSON; `None` for a missing one or one of a newer version."""
    try:
        return msgspec.json.decode(value, type=Process) if value else None
    except msgspec.MsgspecError:
        return None
