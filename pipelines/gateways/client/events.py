"""Sends request events to Kafka from a gateway's process, and never delays a request.

Events wait in a queue with a bounded number of events and bytes. A thread encodes them, so that a
large or malformed body does not hold up the event loop. While Kafka is away the queue fills; then
further events are dropped and counted. A chunk that is not acknowledged in full is sent again: the
worker counts a repeated request id once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from monitor.backoff import pauses
from monitor.config import Settings
from monitor.errors import MonitorError
from pipelines.gateways.client.metrics import ClientMetrics, shared_metrics
from pipelines.kafka.outlet import Message, Outlet

log = logging.getLogger(__name__)

Encode = Callable[[], Message]

_MOST, _MOST_BYTES = 10_000, 64 << 20  # waiting events and their bytes
_CHUNK = 500  # events sent at a time
_LINGER = 0.05  # seconds in which events gather, so that one call sends several
_PATIENCE = 10.0  # seconds to retry before the connection counts as lost
_PAUSES = (0.5, 10.0)  # seconds between connections, the first and the longest
_CLOSE_SECONDS = 5.0


class _Waiting(NamedTuple):
    encode: Encode
    size: int


class EventProducer:
    """A bounded queue in front of Kafka. Use it from one event loop.

    Args:
        settings: brokers, security and topic.
        metrics: default: those of the process.
        most: events that may wait.
        most_bytes: of the events that wait.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: ClientMetrics | None = None,
        most: int = _MOST,
        most_bytes: int = _MOST_BYTES,
    ) -> None:
        self._settings = settings
        self._metrics = metrics or shared_metrics()
        self._most, self._most_bytes = most, most_bytes
        self._queue: deque[_Waiting] = deque()
        self._bytes = 0
        self._dropping = False
        self._wake, self._empty = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, encode: Encode, size: int) -> None:
        """Queue an event, or drop it if the queue is full. Returns at once.

        Args:
            encode: makes the message; called later, in a thread.
            size: about the bytes that it keeps in memory.
        """
        if len(self._queue) >= self._most or self._bytes + size > self._most_bytes:
            self._metrics.events.labels("dropped").inc()
            if not self._dropping:
                self._dropping = True
                log.warning("events_dropped reason='queue full' waiting=%d", len(self._queue))
            return
        self._queue.append(_Waiting(encode, size))
        self._bytes += size
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        self._empty.clear()
        self._wake.set()

    async def close(self, seconds: float = _CLOSE_SECONDS) -> None:
        """Send what waits, for some seconds at most; the rest is dropped and counted."""
        task, self._task = self._task, None
        if task is None:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if self._queue:
            self._metrics.events.labels("dropped").inc(len(self._queue))
            log.warning("events_dropped reason='closed' waiting=%d", len(self._queue))
            self._queue.clear()

    async def _run(self) -> None:
        """Send what comes, over one connection after the other."""
        waits, away = pauses(*_PAUSES), False
        while True:
            try:
                async with Outlet(
                    self._settings.kafka,
                    self._settings.topics.requests,
                    _PATIENCE,
                    self._settings.kafka_security,
                    self._settings.kafka_compression,
                ) as outlet:
                    if away:
                        log.warning("kafka_back waiting=%d", len(self._queue))
                    waits, away = pauses(*_PAUSES), False
                    await self._send_all(outlet)
            except (MonitorError, OSError) as error:
                if not away:
                    log.warning("kafka_away waiting=%d reason=%r", len(self._queue), str(error))
                away = True
            await asyncio.sleep(next(waits))

    async def _send_all(self, outlet: Outlet) -> None:
        """Send chunk after chunk; one leaves the queue when Kafka has it."""
        while True:
            while not self._queue:
                self._empty.set()
                self._wake.clear()
                await self._wake.wait()
                await asyncio.sleep(_LINGER)
            chunk = [self._queue[i] for i in range(min(_CHUNK, len(self._queue)))]
            messages = await asyncio.to_thread(_encoded, chunk)
            refused = outlet.sent.refused
            for message in messages:
                await outlet.put(message)
            await outlet.settle()
            refused = outlet.sent.refused - refused + len(chunk) - len(messages)
            self._metrics.events.labels("refused").inc(refused)
            self._metrics.events.labels("sent").inc(len(chunk) - refused)
            for _ in chunk:
                self._bytes -= self._queue.popleft().size
            self._dropping = False


def _encoded(chunk: list[_Waiting]) -> list[Message]:
    messages = []
    for waiting in chunk:
        try:
            messages.append(waiting.encode())
        except Exception as error:  # a client must not stop the events of others
            log.debug("event_refused error=%s", type(error).__name__)
    return messages
