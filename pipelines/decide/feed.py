"""The change feed: what applies to each subject, as server-sent events (WHATWG HTML, 9.2).

A gateway that follows the feed keeps a local copy and asks nobody per request.

| event | data |
|---|---|
| `reset` | `{}`: forget everything; the whole state follows |
| `decision` | what applies to a subject now; `observe`: nothing any more |
| `ready` | `shadow`: whether nothing is enforced on anybody. The state is complete |
| `stale` | `{}`: Redis is away, and new decisions do not arrive. `ready` follows when it is back |

Decisions are sent as they apply, after shadow mode, kill switch, allow-list and caps. A client
needs no rules of its own, except that a decision's steps end at the times in `steps`.

The id of an event is the position in the feed of Redis, so a client may go on at another server. It
may get an event twice. If it was away for too long it gets everything again, after a `reset`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import partial
from itertools import islice

import msgspec

from pipelines.decide.copy import DecisionCopy
from pipelines.gateways.applied import Applied, applied

HEARTBEAT_SECONDS = 2.0  # between comments on a feed without changes
_CHUNK = 20  # subjects that are checked before look-ups are answered
_EVENTS_PER_WRITE = 500
_COMMENT = b":\n\n"
_STALE = b"event: stale\ndata: {}\n"
_RESET = b"event: reset\ndata: {}\n"


class ChangeFeed:
    """Publishes what changes in a copy.

    Args:
        copy: of the decisions; its `changed` is set.
        stale_seconds: without an answer of Redis, after which the copy is stale.
        kept: changes that a client may have missed.
    """

    def __init__(self, copy: DecisionCopy, stale_seconds: float = 10.0, kept: int = 10_000) -> None:
        self._copy, self._stale_seconds = copy, stale_seconds
        copy.changed = self._changed
        self._published: dict[str, bytes] = {}  # data by subject
        self._events: deque[tuple[str, bytes]] = deque(maxlen=kept)  # ids, events
        self._dropped = 0  # events that `_events` no longer has
        self._floor = ""  # id of the last of them
        self._closed = False
        self._passed_all = copy.passes_all
        self._wake = asyncio.Event()
        self._unchecked: dict[str, None] = {}
        self._checking: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def follow(self, last_id: str | None) -> AsyncIterator[bytes]:
        """The events for one client, and a comment while there are none.

        Args:
            last_id: of the last event that it has; `None` if it has none.
        """
        number, ready = None if last_id is None else self._number_after(last_id), False
        while not self._closed:
            if number is None or number < self._dropped:
                while not self._complete and not self._closed:
                    if not await self._waited():
                        yield _COMMENT
                number, ready = self._dropped + len(self._events), False
                for chunk in self._state():
                    yield chunk
            elif number < self._dropped + len(self._events):
                kept = islice(self._events, number - self._dropped, None)
                events = [_with_id(event, at) for at, event in islice(kept, _EVENTS_PER_WRITE)]
                number += len(events)
                yield b"".join(events)
            elif ready == self._stale:
                ready = not ready
                yield _with_id(self._ready() if ready else _STALE, self._copy.position)
            elif not await self._waited():
                yield _COMMENT

    @property
    def _stale(self) -> bool:
        return self._copy.age > self._stale_seconds

    @property
    def _complete(self) -> bool:
        return self._copy.loaded and not self._unchecked

    async def close(self) -> None:
        """Publish no further change, and end the streams of all clients."""
        self._closed = True
        self._wake.set()
        for each in (self._checking, self._timer):
            if each is not None:
                each.cancel()

    def _changed(self, subjects: Iterable[str] | None) -> None:
        """Check subjects, `None` for all, and publish what differs."""
        if subjects is None:
            subjects = [*self._published, *self._copy.subjects]
            self._plan()
        self._unchecked |= dict.fromkeys(subjects)
        if self._checking is None or self._checking.done():
            self._checking = asyncio.get_running_loop().create_task(self._check())

    async def _check(self) -> None:
        while True:
            for subject in list(islice(self._unchecked, _CHUNK)):
                del self._unchecked[subject]
                self._publish(subject)
            done = not self._unchecked
            if done and self._passed_all != self._copy.passes_all:
                self._passed_all = self._copy.passes_all
                self._append(self._ready())
            self._wake.set()
            self._wake = asyncio.Event()
            if done:
                return
            await asyncio.sleep(0)

    def _publish(self, subject: str) -> None:
        """Publish what applies to a subject, unless that is what clients have."""
        found = applied(partial(self._copy.find, [subject]), time.time())
        applies = found.decision != "observe"
        data = msgspec.json.encode(found if applies else Applied(subject, "observe"))
        if self._published.get(subject) == (data if applies else None):
            return
        if applies:
            self._published[subject] = data
        else:
            del self._published[subject]
        self._append(b"event: decision\ndata: " + data + b"\n")

    def _append(self, event: bytes) -> None:
        if len(self._events) == self._events.maxlen:
            self._floor = self._events[0][0]
            self._dropped += 1
        self._events.append((self._copy.position, event))

    def _ready(self) -> bytes:
        return b"event: ready\ndata: " + msgspec.json.encode({"shadow": self._passed_all}) + b"\n"

    def _plan(self) -> None:
        """Check everything again when a switch or an allowance ends by itself."""
        if self._timer is not None:
            self._timer.cancel()
        now, control = time.time(), self._copy.control
        ends = [each.until for each in control.switches.values()]
        ends += [each.expires_at for each in control.allowed.values()]
        wait = min((end - now for end in ends if end is not None and end > now), default=None)
        if wait is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(wait, 3600.0) + 0.01, self._changed, None)

    def _state(self) -> Iterator[bytes]:
        """Everything that applies now, in chunks."""
        position, now = self._copy.position, time.time()
        yield _with_id(_RESET, position)
        subjects = iter(list(self._published))
        while chunk := list(islice(subjects, _EVENTS_PER_WRITE)):
            yield b"".join(
                _with_id(b"event: decision\ndata: " + self._published[each] + b"\n", position)
                for each in chunk
                if each in self._published and self._copy.find([each], now).action != "observe"
            )

    def _number_after(self, last_id: str) -> int | None:
        """The number of the first event that a client may not have; `None` if it is gone."""
        try:
            last = _order(last_id)
        except ValueError:
            return None
        if not self._copy.loaded or last > _order(self._copy.position):
            return None
        if last < _order(self._copy.origin) or (self._floor and last <= _order(self._floor)):
            return None
        before = sum(1 for at, _ in self._events if _order(at) < last)
        return self._dropped + before

    async def _waited(self) -> bool:
        """Wait for a change; `False` if none came."""
        try:
            await asyncio.wait_for(self._wake.wait(), HEARTBEAT_SECONDS)
        except TimeoutError:
            return False
        return True


def _with_id(event: bytes, position: str) -> bytes:
    return b"id: " + position.encode() + b"\n" + event + b"\n"


def _order(position: str) -> tuple[int, int]:
    """A position of the feed as numbers that can be compared.

    Raises:
        ValueError: if it is none.
    """
    milliseconds, _, number = position.partition("-")
    return int(milliseconds), int(number)
