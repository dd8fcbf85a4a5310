"""Sessions of the console, in Redis.

| key | value | expires |
|---|---|---|
| `xm:console:session:{<hash>}` | a session as JSON | when it has been idle for too long |
| `xm:console:notices:{<hash>}` | list: what the next page shows once | with its session |
| `xm:console:sessions:<name>` | sorted set: hashes of a person's sessions by their start | \
after the longest session |

The cookie has the id, 256 random bits; Redis has only its SHA-256, so whoever reads Redis cannot
take a session over. An id is made when a person signs on, never before: nobody can be made to use
one that another knows. A session ends when it is idle, at a fixed time after its start, when the
person signs out, and when the user is removed or has a new token.

While Redis is away, a session that this process has found before goes on until it is idle: pages
then show what the view has, and nothing can be changed.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from monitor.errors import StoreUnavailableError
from monitor.store.cluster import connect
from monitor.store.connection import Command, execute

IDLE_SECONDS, LONGEST_SECONDS = 1800.0, 43_200.0
SESSION_KEY, NOTICES_KEY = "xm:console:session:", "xm:console:notices:"
SESSIONS_KEY = "xm:console:sessions:"
_TOUCH_SECONDS = 30.0  # between two writes of when a session was last used
_MOST = 20  # sessions of one person; the oldest ends first
_MOST_NOTICES = 10
_MOST_KNOWN = 1_000  # sessions in memory

SignOn = Literal["token", "proxy"]


class Entry(msgspec.Struct, frozen=True):
    """A session, as it is stored.

    Attributes:
        name: who signed on.
        by: how.
        proof: of the token that was used, see `User.proof`; empty with a proxy.
        started, used: wall-clock time, epoch seconds.
    """

    name: str
    by: SignOn
    proof: str
    started: float
    used: float

    def is_alive(self, now: float) -> bool:
        """Whether it is neither idle for too long nor too old."""
        return now - self.used < IDLE_SECONDS and now - self.started < LONGEST_SECONDS


class SessionStore:
    """The sessions. Threads may share it. Every method may raise `StoreError`.

    Args:
        url: of the server, see `monitor/store/connection.py`.
        timeout: seconds to wait for an answer.
    """

    def __init__(self, url: str, timeout: float = 2.0) -> None:
        self._server = connect(url, timeout)
        self._known = OrderedDict[str, Entry]()  # by hash, as they were last found
        self._lock = threading.Lock()

    def begin(self, entry: Entry) -> str:
        """Begin a session under a new id, and return the id."""
        id = secrets.token_urlsafe(32)
        hashed, index = _hash(id), SESSIONS_KEY + entry.name
        self._write(hashed, entry, "NX")
        self._send(("ZADD", index, entry.started, hashed), ("EXPIRE", index, int(LONGEST_SECONDS)))
        (oldest,) = self._send(("ZRANGE", index, 0, -_MOST - 1))
        for each in oldest:
            self._delete(each.decode())
        if oldest:
            self._send(("ZREMRANGEBYRANK", index, 0, len(oldest) - 1))
        return id

    def find(self, id: str, now: float, *, use: bool = True) -> tuple[Entry, list[str]] | None:
        """A session that is alive, and its notices; `None` without one.

        Args:
            use: whether this counts as use. An event stream that a page left open does not.
        """
        hashed = _hash(id)
        try:
            value, notices = self._send(
                ("GET", f"{SESSION_KEY}{{{hashed}}}"),
                ("LRANGE", f"{NOTICES_KEY}{{{hashed}}}", -_MOST_NOTICES, -1),
            )
        except StoreUnavailableError:
            known = self._known.get(hashed)
            if known is None or not known.is_alive(now):
                raise
            return known, []
        if value is None:
            self._forget(hashed)
            return None
        session = msgspec.json.decode(value, type=Entry)
        if not session.is_alive(now):
            self._delete(hashed)
            return None
        if use and now - session.used > _TOUCH_SECONDS:
            session = msgspec.structs.replace(session, used=now)
            # XX: a session that was ended meanwhile stays ended
            self._write(hashed, session, "XX")
        self._keep(hashed, session)
        return session, [notice.decode() for notice in notices]

    def set_notices(self, id: str, texts: Sequence[str]) -> None:
        """Show texts on the next page of a session, in place of others."""
        name = f"{NOTICES_KEY}{{{_hash(id)}}}"
        commands: list[Command] = [("DEL", name)]
        if texts:
            encoded = [text.encode("utf-8", "replace") for text in texts]
            commands += [("RPUSH", name, *encoded), ("EXPIRE", name, int(IDLE_SECONDS))]
        self._send(*commands)

    def end(self, id: str) -> None:
        """End a session."""
        self._delete(_hash(id))

    def end_all(self, name: str) -> int:
        """End all sessions of a person, and return how many there were."""
        index = SESSIONS_KEY + name
        (hashes,) = self._send(("ZRANGE", index, 0, -1))
        ended = sum(self._delete(each.decode()) for each in hashes)
        self._send(("DEL", index))
        return ended

    def _write(self, hashed: str, session: Entry, when: Literal["NX", "XX"]) -> None:
        value = msgspec.json.encode(session)
        name = f"{SESSION_KEY}{{{hashed}}}"
        self._send(("SET", name, value, "EX", int(IDLE_SECONDS), when))

    def _keep(self, hashed: str, session: Entry) -> None:
        with self._lock:
            self._known[hashed] = session
            self._known.move_to_end(hashed)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)

    def _forget(self, hashed: str) -> None:
        with self._lock:
            self._known.pop(hashed, None)

    def _delete(self, hashed: str) -> int:
        self._forget(hashed)
        found, _ = self._send(
            ("DEL", f"{SESSION_KEY}{{{hashed}}}"), ("DEL", f"{NOTICES_KEY}{{{hashed}}}")
        )
        return int(found)

    def _send(self, *commands: Command) -> list[Any]:
        """Send commands whose keys are in the slot of the first one's."""

        def send() -> list[Any]:
            with self._server.connection(commands[0][1]) as connection:
                return execute(connection, commands)

        return self._server.run(send)


def _hash(id: str) -> str:
    return hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()
