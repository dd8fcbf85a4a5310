"""Erasure: all that is stored about a subject, in Redis and in the memory of workers.

| key | value | expires |
|---|---|---|
| `xm:forgotten` | hash: subject → a request to erase it, JSON | KEPT_SECONDS after it |
| `xm:forgotten:done` | hash: `<request> <partition>` → when the partition forgot it | the same |

A worker holds state in memory and writes it back, so deleting keys is not enough. Each worker reads
the requests, forgets the subject in each of its partitions, and notes that after its checkpoint. A
partition without a worker forgets it when one starts. What Redis alone has is deleted here.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from monitor.alerting.changes import Change, change_by, check_subject
from monitor.alerting.decisions import ORIGINS
from monitor.alerting.enforcement import Withdrawal
from monitor.store.alert_book import INCIDENTS_KEY, SILENCES_KEY, AlertBook, Entry, Silence
from monitor.store.cluster import connect
from monitor.store.connection import Command, execute
from monitor.store.control import ALLOW_KEY, WITHDRAWN_KEY
from monitor.store.feed import audit_entry, feed_entry
from monitor.store.redis import (
    BASELINES_KEY,
    CAPS_KEY,
    RECORD_KEY,
    ROWS_KEY,
    TENANT_KEY,
    decision_name,
)

FORGOTTEN_KEY, DONE_KEY = "xm:forgotten", "xm:forgotten:done"
KEPT_SECONDS = 7 * 86_400.0
_RESPONSES_KEY, _RESPONSE_KEYS = "xm:responses:", "xm:responses:keys"


class Erasure(msgspec.Struct, frozen=True):
    """A request to erase a subject.

    Attributes:
        id: that of its entry in the audit.
        at: wall-clock time, epoch seconds.
    """

    id: str
    subject: str
    at: float


class ErasureStore:
    """Requests to erase. Threads may share it. Every method may raise `StoreError`.

    Args:
        url: of the server, see `connection.py`.
        timeout: seconds to wait for an answer.
    """

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        self.server = connect(url, timeout)
        self._book = AlertBook(url, timeout)

    # Requests, and what workers did

    def request(self, subject: str, who: str, why: str) -> Erasure:
        """Ask all workers to forget a subject, with an entry in the audit.

        Raises:
            InputError: if an argument cannot be used.
        """
        check_subject(subject)
        change = change_by(who, "forget", subject, why)
        asked = Erasure(change.id, subject, change.at)
        self._prune(change.at)
        self._audit(change)
        self._call("HSET", FORGOTTEN_KEY, subject, msgspec.json.encode(asked))
        return asked

    def requests(self) -> list[Erasure]:
        """The requests of the last days."""
        values = self._call("HGETALL", FORGOTTEN_KEY)[1::2]
        found = [msgspec.json.decode(value, type=Erasure) for value in values]
        return [each for each in found if time.time() - each.at < KEPT_SECONDS]

    def done(self) -> set[tuple[str, str]]:
        """The requests, by id, and the partitions that have forgotten the subject."""
        fields = self._call("HGETALL", DONE_KEY)[::2]
        pairs = (field.decode().split(" ", 1) for field in fields)
        return {(id, partition) for id, partition in pairs}

    def mark_done(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Note that partitions have forgotten subjects, and have written that."""
        now = time.time()
        fields = [x for id, partition in pairs for x in (f"{id} {partition}", now)]
        if fields:
            self._call("HSET", DONE_KEY, *fields)

    def partitions(self, fingerprints: str) -> list[str]:
        """All partitions with state: of requests, and of a topic of fingerprints."""
        requests = [name.decode() for name in self._call("HGETALL", BASELINES_KEY)[::2]]
        links: list[str] = []
        while self._call("HLEN", f"{ROWS_KEY}{self._tag(f'{fingerprints}:{len(links)}')}"):
            links.append(f"{fingerprints}:{len(links)}")
        return sorted(requests) + links

    # What Redis alone has

    def erase(self, subject: str, partitions: Iterable[str]) -> dict[str, int]:
        """Delete what Redis has of a subject; by kind, how much that was."""
        names = [RECORD_KEY + subject]
        names += [f"{RECORD_KEY}{{{partition}}}:{subject}" for partition in partitions]
        decisions = [decision_name(origin, subject) for origin in ORIGINS]
        found = {
            "records": sum(self._call("DEL", name) for name in names),
            "decisions": sum(self._gone(name) for name in decisions),
            "allow-list entries": self._field_gone(ALLOW_KEY, subject),
            "withdrawals": sum(
                self._field_gone(WITHDRAWN_KEY, field) for field in self._withdrawals(subject)
            ),
            "silences": self._silences(subject),
            "alerts": self._alerts(subject),
            "tenants": self._call("DEL", TENANT_KEY + subject),
            "sketches of responses": self._call("DEL", f"{_RESPONSES_KEY}{{{subject}}}"),
        }
        if self._call("ZSCORE", _RESPONSE_KEYS, subject) is not None:
            self._call("ZADD", _RESPONSE_KEYS, 0, subject)
            self._call("ZREMRANGEBYSCORE", _RESPONSE_KEYS, 0, 0)
        self._call("HDEL", CAPS_KEY, subject)
        self._call("HDEL", INCIDENTS_KEY, subject)
        return {kind: number for kind, number in found.items() if number}

    def _gone(self, name: str) -> int:
        """Delete a decision, and tell those who keep a copy."""
        number = int(self._call("DEL", name))
        if number:
            self._send(feed_entry(name, b""))
        return number

    def _field_gone(self, key: str, field: str) -> int:
        number = int(self._call("HDEL", key, field))
        if number:
            self._send(feed_entry(f"{key}:{field}", b""))
        return number

    def _withdrawals(self, subject: str) -> Iterator[str]:
        found = self._call("HGETALL", WITHDRAWN_KEY)
        for field, value in zip(found[::2], found[1::2], strict=True):
            if msgspec.json.decode(value, type=Withdrawal).subject == subject:
                yield field.decode()

    def _silences(self, subject: str) -> int:
        found = self._call("HGETALL", SILENCES_KEY)
        of_subject = [
            field
            for field, value in zip(found[::2], found[1::2], strict=True)
            if msgspec.json.decode(value, type=Silence).subject == subject
        ]
        return int(self._call("HDEL", SILENCES_KEY, *of_subject)) if of_subject else 0

    def _alerts(self, subject: str) -> int:
        """Delete the alerts on a subject from the book, and its name from those on others."""
        own: list[str] = []
        others: list[Entry] = []
        for entry in self._book.entries():
            about = entry.alert.subject
            if about.id == subject:
                own.append(entry.alert.id)
            elif about.members and subject in about.members:
                members = [each for each in about.members if each != subject]
                about = msgspec.structs.replace(about, members=members)
                alert = msgspec.structs.replace(entry.alert, subject=about)
                others.append(msgspec.structs.replace(entry, alert=alert))
        self._book.forget(own)
        self._book.write(others)
        return len(own) + len(others)

    # Redis

    def _prune(self, now: float) -> None:
        """Delete the requests that are old, and what was done about them."""
        for key, at in ((FORGOTTEN_KEY, _at_of_request), (DONE_KEY, float)):
            found = self._call("HGETALL", key)
            pairs = zip(found[::2], found[1::2], strict=True)
            old = [field for field, value in pairs if now - at(value) > KEPT_SECONDS]
            if old:
                self._call("HDEL", key, *old)

    def _audit(self, change: Change) -> None:
        self._send(audit_entry(change))

    def _tag(self, partition: str) -> str:
        return f"{{{partition}}}" if self.server.is_cluster else partition

    def _call(self, command: str, key: str, *arguments: Any) -> Any:
        return self._send((command, key, *arguments))

    def _send(self, command: Command) -> Any:
        def call() -> Any:
            with self.server.connection(command[1]) as connection:
                return execute(connection, [command])[0]

        return self.server.run(call)


def _at_of_request(value: bytes) -> float:
    return msgspec.json.decode(value, type=Erasure).at
