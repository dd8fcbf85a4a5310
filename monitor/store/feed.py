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

import msgspec

from monitor.alerting.changes import Change
from monitor.store.connection import Command

FEED_KEY = "xm:feed"
FEED_LENGTH = 100_000  # entries that are kept, about
AUDIT_KEY = "xm:audit"
AUDIT_LENGTH = 100_000  # entries that are kept, about; the topic has all


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
