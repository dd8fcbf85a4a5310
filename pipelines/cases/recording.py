"""The queue of alerts that wait to be recorded in cases.

An alert is recorded when its entries are in Redis and on the topic of cases; then a failover of
Redis cannot lose them. Only then its offset may be acknowledged, so the successor of a killed
worker records it again, and the entries that exist are recognised. While Redis or Kafka fails,
alerts wait here and are delivered all the same. If many wait, they are forgotten and read again
from their topic.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Self

from monitor.backoff import pauses
from pipelines.cases.recorder import UNWRITTEN, Message, Recorder

HELD = 10_000  # alerts in memory
_PAUSES = 0.25, 5.0  # seconds between attempts, the first and the longest
_COPY_SECONDS = 0.5  # between looks at what Kafka has
_BROKEN_SECONDS = 600.0  # that a case may take to be repaired
_TOGETHER = 500  # alerts that are recorded in one call

log = logging.getLogger(__name__)

#: Reads messages again, from their sources.
Reread = Callable[[Sequence[str]], list[Message]]


@dataclass(slots=True)
class _Item:
    """A batch of alerts that waits. `messages` is empty if they are forgotten."""

    sources: list[str]
    messages: list[Message]
    done: asyncio.Future[None]
    since: float = field(default_factory=time.monotonic)


class Recording:
    """Records alerts while it is entered (`async with`).

    Args:
        recorder: writes the entries.
        thread: of the recorder.
        reread: see `Reread`.
    """

    def __init__(self, recorder: Recorder, thread: Executor, reread: Reread) -> None:
        self._recorder, self._thread, self._reread = recorder, thread, reread
        self._items: list[_Item] = []
        self._held = 0
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="record alerts in cases")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    def submit(self, messages: Sequence[Message]) -> asyncio.Future[None]:
        """Queue a batch without waiting. The future is done when it is recorded."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sources = [message.source for message in messages]
        keep = list(messages) if self._held + len(messages) <= HELD else []
        self._held += len(keep)
        self._items.append(_Item(sources, keep, done))
        self._arrived.set()
        return done

    async def _run(self) -> None:
        waiting, failing = pauses(*_PAUSES), False
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            try:
                await self._record()
            except Exception as error:  # of Redis or Kafka: alerts are delivered meanwhile
                if not failing:
                    log.error("cases_failed error=%s reason=%r", type(error).__name__, str(error))
                failing = True
                self._arrived.set()
                await asyncio.sleep(next(waiting))
                continue
            if failing:
                log.warning("cases_back")
            waiting, failing = pauses(*_PAUSES), False
            if self._items:
                self._arrived.set()
                await asyncio.sleep(_COPY_SECONDS)

    async def _record(self) -> None:
        """Record what waits, and finish what is recorded."""
        left: list[_Item] = []
        items, self._items = self._items, []
        try:
            while items:
                count = max(1, _leading(items))
                finished = await asyncio.get_running_loop().run_in_executor(
                    self._thread, self._record_items, items[:count]
                )
                for item, is_done in zip(items[:count], finished, strict=True):
                    if is_done:
                        self._finish(item)
                    else:
                        left.append(item)
                del items[:count]
        finally:
            self._items = [*left, *items, *self._items]

    def _record_items(self, items: Sequence[_Item]) -> list[bool]:
        self._recorder.watched.refresh()  # fails before anything is read again
        return [self._is_recorded(item) for item in items]

    def _is_recorded(self, item: _Item) -> bool:
        messages = item.messages
        if item.sources and not messages:
            messages = self._reread(item.sources)
        written = self._recorder.record(messages)
        if UNWRITTEN in written.values() and time.monotonic() - item.since > _BROKEN_SECONDS:
            log.error("alerts_not_recorded sources=%s", ",".join(item.sources))
            return True
        return all(self._recorder.is_copied(case, number) for case, number in written.items())

    def _finish(self, item: _Item) -> None:
        self._held -= len(item.messages)
        if not item.done.done():
            item.done.set_result(None)


def _leading(items: Sequence[_Item]) -> int:
    """How many items are recorded in one call."""
    alerts = 0
    for count, item in enumerate(items):
        alerts += len(item.sources)
        if alerts > _TOGETHER:
            return count
    return len(items)
