"""How far the feed and the audit have been copied to Kafka, and by which worker.

A turn, such as `xm:outbox`, has the holder, the time until which it is the holder's turn, and the
last entries that Kafka has. One worker at a time copies, so that the messages about a subject keep
their order. If it dies, another goes on from there when its turn ends, and sends again what was not
noted.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import msgspec

from monitor.store.connection import execute, transact
from monitor.store.control import ControlStore
from monitor.store.feed import START

OUTBOX_KEY = "xm:outbox"
TURN_SECONDS = 30.0


class Position(NamedTuple):
    """The last entries that Kafka has."""

    feed: str = START
    audit: str = START


class _Turn(msgspec.Struct, frozen=True):
    holder: str
    until: float  # wall-clock time, epoch seconds
    feed: str
    audit: str


def take_turn(
    store: ControlStore, holder: str, reached: Position | None = None, key: str = OUTBOX_KEY
) -> Position | None:
    """Begin or extend a turn.

    Args:
        holder: name of this worker, different from all others.
        reached: the entries that Kafka has now; `None`: the same as before.
        key: of the turn in Redis.

    Returns:
        the entries that Kafka has; `None` while it is another worker's turn.
    """

    def take() -> Position | None:
        with store.server.connection(key) as connection:
            _, value = execute(connection, [("WATCH", key), ("GET", key)])
            before = msgspec.json.decode(value, type=_Turn) if value else None
            now = time.time()
            if before is not None and before.holder != holder and now < before.until:
                transact(connection, [("GET", key)])  # ends the WATCH
                return None
            at = reached or (Position(before.feed, before.audit) if before else Position())
            turn = _Turn(holder, now + TURN_SECONDS, at.feed, at.audit)
            transact(connection, [("SET", key, msgspec.json.encode(turn))])
            return at

    return store.server.run(take)
