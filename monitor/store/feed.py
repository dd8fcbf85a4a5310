"""The feed: what changes about decisions, in one Redis stream, for whoever keeps a copy of them.

Each entry has two fields: `name`, the Redis key that changed (`xm:d:…`, `xm:control`, `xm:allow`),
and `value`, its new value as JSON, empty if it is gone. The end of a decision is no change: its
value says when it ends. An entry is written together with the change, so a reader that lists the
keys once and then follows the stream from its last entry before that misses nothing.

The stream keeps the last entries only. A reader that has been away for longer lists the keys again.
"""

from __future__ import annotations

from monitor.store.connection import Command

FEED_KEY = "xm:feed"
FEED_LENGTH = 100_000  # entries that are kept, about


def feed_entry(name: str, value: bytes) -> Command:
    """The command that adds an entry.

    Args:
        name: of the Redis key that changed.
        value: JSON; empty if the key is gone.
    """
    length = FEED_LENGTH
    return "XADD", FEED_KEY, "MAXLEN", "~", length, "*", "name", name, "value", value
