"""Copies decisions and the audit from Redis to Kafka.

| topic | key | value |
|---|---|---|
| `extraction.decisions`, compacted | subject | what applies to it, as in `gateways/applied.py` |
| `extraction.audit` | subject of the change | the change (`alerting/changes.py`) |

Entries of the feed name what changed. What is sent is read from Redis at that moment, so a message
is never older than the entry. After a change of a switch, the allow-list or a withdrawal, at the
end of one, and if entries were lost, all subjects are sent again. Each message is sent at least
once.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from monitor.alerting.changes import Change
from monitor.alerting.decisions import ActiveDecision
from monitor.alerting.enforcement import Control, Effective, effective
from monitor.config import Settings
from monitor.store import inventory
from monitor.store.control import ControlStore
from monitor.store.feed import Feed
from monitor.store.outbox import TURN_SECONDS, Position, take_turn
from monitor.store.redis import DECISION_KEY, RedisStore
from pipelines.gateways.applied import applied

log = logging.getLogger(__name__)

_SECONDS = 1.0  # between looks at the feed
_PAGE = 1000  # subjects or entries that are sent at once

Message = tuple[bytes, bytes | None]


class Outbox:
    """Copies while it is this worker's turn.

    Args:
        app: the Faust app, for its producer.
        settings: name the topics, and whether shadow mode is on.
        store: has the decisions.
        control: has feed, audit and switches.
    """

    def __init__(
        self, app: Any, settings: Settings, store: RedisStore, control: ControlStore
    ) -> None:
        self._app, self._store, self._control = app, store, control
        self._decisions, self._audit = settings.topics.decisions, settings.topics.audit
        self._shadow = settings.decisions.shadow
        self._holder = secrets.token_hex(8)
        self._all_due = 0.0  # when a switch or an allow-list entry ends, which no entry says

    async def run(self) -> None:
        """Copy what is new every second while the app runs."""
        failing = False
        while not self._app.should_stop:
            try:
                more = await self.copy()
            except Exception as error:  # of Redis or Kafka: whatever it is, detection goes on
                if not failing:
                    log.error("outbox_failed error=%s reason=%r", type(error).__name__, str(error))
                failing, more = True, False
            else:
                if failing:
                    log.warning("outbox_back")
                failing = False
            if not more:
                await self._app.sleep(_SECONDS)

    async def copy(self) -> bool:
        """Copy what is new; whether there may be more.

        After a failure nothing is noted as copied, and all of it is sent again.
        """
        position = await self._take_turn()
        if position is None:
            self._all_due = 0.0
            return False
        changes, audit = await asyncio.to_thread(self._read_audit, position.audit)
        await self._send(self._audit, changes)
        feed = await asyncio.to_thread(self._control.feed, position.feed)
        reached = await self._send_decisions(feed, position.feed)
        await self._take_turn(Position(reached, audit))
        return len(feed.entries) >= _PAGE or len(changes) >= _PAGE

    def _read_audit(self, after: str) -> tuple[list[Message], str]:
        """The next changes, and the id of the last one."""
        entries = list(islice(self._control.audit_entries(f"({after}"), _PAGE))
        messages: list[Message] = [(_subject_of(value), value) for _, value in entries]
        return messages, entries[-1][0] if entries else after

    async def _send_decisions(self, feed: Feed, after: str) -> str:
        """Send what applies to the subjects that changed; the id of the last entry."""
        if feed.lost:
            log.warning("feed_gap after=%s remedy=%r", after, "all decisions are sent again")
        names = [entry.name for entry in feed.entries]
        decisions = [name for name in names if name.startswith(DECISION_KEY)]
        await self._send_pages({name.rpartition(":")[2] for name in decisions})
        if feed.lost or len(decisions) < len(names) or time.time() >= self._all_due:
            return await self._send_all()
        return feed.entries[-1].id if feed.entries else after

    async def _send_all(self) -> str:
        """Send what applies to all subjects; the id of the last entry before."""
        reached = await asyncio.to_thread(self._control.position)
        ends = _ends(await asyncio.to_thread(self._control.read))
        due = min((end for end in ends if end > time.time()), default=math.inf)
        decisions = inventory.decisions(self._store.server)
        while page := await asyncio.to_thread(lambda: list(islice(decisions, _PAGE))):
            await self._send_pages({decision.key for decision in page})
        self._all_due = due
        return reached

    async def _send_pages(self, subjects: set[str]) -> None:
        ordered = sorted(subjects)
        for i in range(0, len(ordered), _PAGE):
            messages = await asyncio.to_thread(self._what_applies, ordered[i : i + _PAGE])
            await self._send(self._decisions, messages)

    def _what_applies(self, subjects: Sequence[str]) -> list[Message]:
        set_by_people, now = self._control.read(), time.time()
        messages: list[Message] = []
        for subject, decisions in zip(subjects, self._store.in_force(subjects), strict=True):

            def find(at: float, decisions: Sequence[ActiveDecision] = decisions) -> Effective:
                return effective(decisions, set_by_people, at, self._shadow)

            found = applied(find, now)
            gone = found.subject is None
            messages.append((subject.encode(), None if gone else msgspec.json.encode(found)))
        return messages

    async def _send(self, topic: str, messages: Sequence[Message]) -> None:
        """Send messages and wait until Kafka has them, however long that takes: another worker
        must not overtake what this one's producer still holds."""
        await self._take_turn()
        producer = await self._app.maybe_start_producer()
        waiting = [
            asyncio.ensure_future(await producer.send(topic, key, value, None, None, None))
            for key, value in messages
        ]
        pending: set[asyncio.Future[Any]] = set(waiting)
        while pending:
            _, pending = await asyncio.wait(pending, timeout=TURN_SECONDS / 3)
            if pending:
                await self._take_turn()
        for sent in waiting:
            sent.result()

    async def _take_turn(self, reached: Position | None = None) -> Position | None:
        return await asyncio.to_thread(take_turn, self._control, self._holder, reached)


def _subject_of(change: bytes) -> bytes:
    return msgspec.json.decode(change, type=Change).subject.encode()


def _ends(control: Control) -> Iterator[float]:
    """When switches and allow-list entries end by themselves, epoch seconds."""
    yield from (each.until for each in control.switches.values() if each.until is not None)
    yield from (each.expires_at for each in control.allowed.values())
