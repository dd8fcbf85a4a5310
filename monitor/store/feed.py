"""Two Redis streams: the feed for those who keep a copy of all decisions, and the audit.

An entry of the feed has two fields: `name`, the Redis key that changed (`xm:d:…`) or the key and
the field of a hash (`xm:control:kill`, `xm:allow:<pseudonym>`), and `value`, its new value as JSON,
empty if it is gone. The end of a decision is no change: its value says when it ends. An entry is
written together with the change, so a reader that lists the keys once and then follows the stream
from its last entry before that misses nothing.

The streams keep the last entries only. A reader that has been away for longer lists the keys again.
Workers copy the audit to a Kafka topic, which has all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from monitor.alerting.changes import Change
from monitor.store.connection import Command

FEED_KEY = "xm:feed"
FEED_LENGTH = 100_000  # entries that are kept, about
START = "0-0"  # before the first entry of a stream
AUDIT_KEY = "xm:audit"
AUDIT_LENGTH = 100_000  # entries that are kept, about; the topic has all


class Entry(NamedTuple):
    """An entry of the feed.

    Attributes:
        id: its place in the stream.
        value: JSON, empty if what the name says is gone.
    """

    id: str
    name: str
    value: bytes


class Feed(NamedTuple):
    """What changed since an entry.

    Attributes:
        lost: whether entries are missing, because the reader was too slow or Redis has lost data:
            read everything again.
    """

    entries: list[Entry]
    lost: bool


def feed_entry(name: str, value: bytes) -> Command:
    """The command that adds an entry.

    Args:
        name: of the Redis key that changed.
        value: JSON; empty if the key is gone.
    """
    length = FEED_LENGTH
    return "XADD", FEED_KEY, "MAXLEN", "~", length, "*", "name", name, "value", value


def audit_entry(change: Change) -> Command:
    """The command that adds a change to the audit."""
    value = msgspec.json.encode(change)
    return "XADD", AUDIT_KEY, "MAXLEN", "~", AUDIT_LENGTH, "*", "change", value


def for_audit(value: bytes) -> Any:
    """The JSON of a value, with the number of members in place of their names."""
    found = msgspec.json.decode(value)
    return found | {"members": len(found["members"])} if "members" in found else found


def is_lost(after: str, first: Sequence[Any], last: Sequence[Any]) -> bool:
    """Whether a stream no longer has all that follows an entry, or lacks the entry itself."""
    known = _number(after)
    if not last:
        return known != _number(START)
    return known > _number(last[0][0]) or (known != _number(START) and known < _number(first[0][0]))


def _number(id: str | bytes) -> tuple[int, int]:
    milliseconds, _, sequence = (id.decode() if isinstance(id, bytes) else id).partition("-")
    return int(milliseconds), int(sequence)


def read_entry(id: bytes, fields: Sequence[bytes]) -> Entry:
    """An entry of the feed, from its id and the fields in Redis."""
    found = dict(zip(fields[::2], fields[1::2], strict=True))
    return Entry(id.decode(), found[b"name"].decode(), found[b"value"])
