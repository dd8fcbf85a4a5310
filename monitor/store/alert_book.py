"""The alert book: which alerts are open, and which receiver has accepted which state of them.

| key | value | expires |
|---|---|---|
| `xm:alerts` | hash: alert id → its partition of the alerts topic | when the alert is forgotten |
| `xm:alert:<id>` | hash: the alert as JSON, and one field per delivery | the same |
| `xm:silences` | hash: silence id → JSON | when somebody reads it after its end |
| `xm:incidents` | hash: key or account → id of the alert that it is part of | with that alert |
| `xm:incidents:severity` | hash: alert id → severity of what is part of it | with that alert |

Deliveries are only ever added, each as a field of its own. So a worker and a command that deliver
the same alert at the same time lose nothing of each other. An alert is forgotten some days after
its end: until then a repeated message is recognised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from monitor.alerting.alerts import Alert, Severity, State
from monitor.alerting.changes import Change
from monitor.store.cluster import connect
from monitor.store.connection import Command, execute, transact
from monitor.store.feed import audit_entry

ALERTS_KEY, ALERT_KEY, SILENCES_KEY = "xm:alerts", "xm:alert:", "xm:silences"
INCIDENTS_KEY, SEVERITIES_KEY = "xm:incidents", "xm:incidents:severity"
_ENTRY = b"alert"  # the field that is no delivery
_PAGE = 500  # alerts per round trip


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """That a receiver accepted or finally did not accept a state of an alert.

    Attributes:
        receiver: its name.
        accepted: False if the alert went to the topic of undelivered alerts.
    """

    receiver: str
    state: State
    severity: Severity
    detected_at: float
    accepted: bool = True


class Entry(msgspec.Struct):
    """An alert in the book.

    Attributes:
        alert: its latest state.
        partition: of the alerts topic; whoever reads it delivers the alert.
        opened_at: when it was first seen, wall-clock time, epoch seconds.
        changed_at: when its latest state was seen, wall-clock time, epoch seconds.
        marks: the time of each delivery, wall-clock time, epoch seconds.
    """

    alert: Alert
    partition: int
    opened_at: float
    changed_at: float
    marks: dict[Mark, float] = {}

    @property
    def is_open(self) -> bool:
        """Whether the alert has not resolved."""
        return self.alert.state != "resolved"

    def of(self, receiver: str) -> list[Mark]:
        """What a receiver accepted or finally did not accept, the oldest first."""
        return [mark for mark in self.marks if mark.receiver == receiver]


class Silence(msgspec.Struct, frozen=True):
    """Alerts that are not delivered for a while. Empty conditions match everything.

    Attributes:
        id: `s_…`.
        subject: the id of an alert, or of what it is about.
        kind: of alert.
        until: wall-clock time, epoch seconds.
    """

    id: str
    who: str
    why: str
    at: float
    until: float
    subject: str = ""
    kind: str = ""

    def covers(self, alert: Alert, now: float) -> bool:
        """Whether an alert is silenced at a wall-clock time."""
        return (
            now < self.until
            and self.subject in ("", alert.id, alert.subject.id)
            and self.kind in ("", alert.kind)
        )


class AlertBook:
    """The book in Redis. Threads may share it. Every method may raise `StoreError`.

    Args:
        url: of the server, see `connection.py`.
        timeout: seconds to wait for an answer.
    """

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        self.server = connect(url, timeout)

    def read(self, ids: Iterable[str]) -> dict[str, Entry]:
        """The entries of these alerts, by id; unknown ones are left out."""
        names = [ALERT_KEY + id for id in dict.fromkeys(ids)]
        answers = self._pipeline([("HGETALL", name) for name in names])
        found = {
            name.removeprefix(ALERT_KEY): _entry(dict(zip(a[::2], a[1::2], strict=True)))
            for name, a in answers.items()
        }
        return {id: entry for id, entry in found.items() if entry is not None}

    def marks(self, id: str) -> list[Mark]:
        """The deliveries of an alert, the oldest first, even if the alert is not in the book."""
        found = self._call("HGETALL", ALERT_KEY + id)
        return list(_marks(dict(zip(found[::2], found[1::2], strict=True))))

    def write(self, entries: Sequence[Entry]) -> None:
        """Write alerts, without their deliveries."""
        commands: list[Command] = []
        for entry in entries:
            value = msgspec.json.encode(msgspec.structs.replace(entry, marks={}))
            commands.append(("HSET", ALERT_KEY + entry.alert.id, _ENTRY, value))
        self._pipeline(commands)
        for part in _parts(entries):
            pairs = [x for entry in part for x in (entry.alert.id, entry.partition)]
            self._call("HSET", ALERTS_KEY, *pairs)

    def mark(self, marks: Mapping[str, Sequence[Mark]], now: float) -> None:
        """Add deliveries to alerts, by their ids."""
        self._pipeline(
            [
                ("HSET", ALERT_KEY + id, *(x for m in new for x in (msgspec.json.encode(m), now)))
                for id, new in marks.items()
            ]
        )

    def forget(self, ids: Iterable[str]) -> None:
        """Delete alerts and their deliveries."""
        names = [ALERT_KEY + id for id in ids]
        fields = self._pipeline([("HGETALL", name) for name in names])
        self._pipeline([("HDEL", name, *found[::2]) for name, found in fields.items() if found])
        for part in _parts(names):
            self._call("HDEL", ALERTS_KEY, *(name.removeprefix(ALERT_KEY) for name in part))

    def wholes(self, subjects: Iterable[str]) -> dict[str, str]:
        """The ids of the alerts that these subjects are part of; the others are left out."""
        found: dict[str, str] = {}
        for part in _parts(list(subjects)):
            ids = self._call("HMGET", INCIDENTS_KEY, *part)
            found |= {each: id.decode() for each, id in zip(part, ids, strict=True) if id}
        return found

    def join(self, members: Iterable[str], id: str) -> None:
        """Enter that subjects are part of an alert."""
        for part in _parts(list(members)):
            self._call("HSET", INCIDENTS_KEY, *(x for member in part for x in (member, id)))

    def leave(self, members: Iterable[str], id: str) -> None:
        """Forget an alert and that subjects are part of it."""
        left = [member for member, whole in self.wholes(members).items() if whole == id]
        for part in _parts(left):
            self._call("HDEL", INCIDENTS_KEY, *part)
        self._call("HDEL", SEVERITIES_KEY, id)

    def raise_severity(self, id: str, severity: Severity) -> None:
        """Enter the severity of the most severe part of an alert."""
        self._call("HSET", SEVERITIES_KEY, id, severity)

    def severities(self) -> dict[str, Severity]:
        """The severities of the most severe parts, by the id of the alert they are part of."""
        found = self._call("HGETALL", SEVERITIES_KEY)
        return {
            id.decode(): severity.decode()
            for id, severity in zip(found[::2], found[1::2], strict=True)
        }

    def entries(self, partitions: frozenset[int] | None = None) -> Iterator[Entry]:
        """The alerts of some partitions of the alerts topic, or all."""
        seen: set[str] = set()
        cursor = b"0"
        while True:
            cursor, page = self._call("HSCAN", ALERTS_KEY, cursor, "COUNT", _PAGE)
            ids = [
                id.decode()
                for id, partition in zip(page[::2], page[1::2], strict=True)
                if partitions is None or int(partition) in partitions
            ]
            yield from self.read(id for id in ids if id not in seen).values()
            seen.update(ids)
            if cursor == b"0":
                return

    def silences(self, now: float) -> list[Silence]:
        """The silences that have not ended; those that have are deleted."""
        values = self._call("HGETALL", SILENCES_KEY)[1::2]
        found = [each for each in map(_silence, values) if each is not None]
        ended = [each.id for each in found if each.until <= now]
        if ended:
            self._call("HDEL", SILENCES_KEY, *ended)
        return sorted((each for each in found if now < each.until), key=lambda each: each.until)

    def silence(self, silence: Silence, change: Change) -> None:
        """Add a silence, with its entry in the audit."""
        value = msgspec.json.encode(silence)
        self._change(change, ("HSET", SILENCES_KEY, silence.id, value))

    def end_silence(self, id: str, change: Change) -> None:
        """Delete a silence, with its entry in the audit."""
        self._change(change, ("HDEL", SILENCES_KEY, id))

    def _change(self, change: Change, command: Command) -> None:
        """One transaction. A Cluster has it in two slots: there the audit comes first."""

        def run() -> None:
            with self.server.connection(SILENCES_KEY) as connection:
                transact(connection, [audit_entry(change), command])

        if self.server.is_cluster:
            self._call(*audit_entry(change))
            self._call(*command)
        else:
            self.server.run(run)

    def _pipeline(self, commands: Sequence[Command]) -> dict[str, Any]:
        """The answers of commands on one key each, by key."""

        def run() -> dict[str, Any]:
            answers: dict[str, Any] = {}
            for group in self.server.by_server(list(by_key)):
                for part in _parts(group):
                    with self.server.connection(part[0]) as connection:
                        sent = execute(connection, [by_key[name] for name in part])
                    answers |= zip(part, sent, strict=True)
            return answers

        by_key = {command[1]: command for command in commands}
        answers: dict[str, Any] = self.server.run(run)
        return answers

    def _call(self, command: str, key: str, *arguments: Any) -> Any:
        def call() -> Any:
            with self.server.connection(key) as connection:
                return execute(connection, [(command, key, *arguments)])[0]

        return self.server.run(call)


def _entry(fields: dict[bytes, bytes]) -> Entry | None:
    """An alert from its hash. One of a newer version counts as unknown."""
    try:
        entry = msgspec.json.decode(fields.get(_ENTRY, b""), type=Entry)
        entry.marks = _marks(fields)
    except msgspec.MsgspecError:
        return None
    return entry


def _silence(value: bytes) -> Silence | None:
    """A silence from its JSON. One of a newer version counts as none."""
    try:
        return msgspec.json.decode(value, type=Silence)
    except msgspec.MsgspecError:
        return None


def _marks(fields: dict[bytes, bytes]) -> dict[Mark, float]:
    found = [
        (msgspec.json.decode(field, type=Mark), float(at))
        for field, at in fields.items()
        if field != _ENTRY
    ]
    return dict(sorted(found, key=lambda each: each[1]))


def _parts(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _PAGE):
        yield items[start : start + _PAGE]
