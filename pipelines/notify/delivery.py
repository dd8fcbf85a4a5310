"""Delivery: every alert reaches every receiver, in order, however long a receiver is down.

Each receiver has its own queue and its own task, so a slow or dead one delays no other. A batch is
delivered when every receiver has accepted or rejected all of it. Only then is its offset
acknowledged, so a successor of a dead worker reads and sends again what was in the queues. When a
queue is full, `submit` waits, and with it the reading of the topic.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Self

from monitor.alerting.alerts import SEVERITIES, Alert, Severity
from monitor.backoff import pauses
from monitor.metrics import Metrics
from pipelines.notify.receiver import AwayError, Receiver

_BATCH = 100  # alerts per request
_QUEUE = 10_000  # alerts that may wait for one receiver
_REMEMBERED = 100_000  # alerts whose severity is remembered
_PAUSES = 0.25, 30.0  # seconds between attempts, the first and the longest
_LONGEST_RETRY_AFTER = 600.0  # seconds

log = logging.getLogger(__name__)


class Delivery:
    """Sends alerts to receivers while it is entered (`async with`).

    Attributes:
        least_severity: an alert is sent once it has reached this severity.
    """

    def __init__(
        self,
        receivers: Sequence[Receiver],
        least_severity: Severity = "info",
        *,
        metrics: Metrics | None = None,
    ) -> None:
        self.least_severity = least_severity
        self._severe = SEVERITIES[SEVERITIES.index(least_severity) :]
        self.metrics = metrics or Metrics()
        self._queues = [_ReceiverQueue(receiver, self.metrics) for receiver in receivers]
        self._sent: dict[str, bool] = {}  # by id of an open alert, whether it has been severe

    async def __aenter__(self) -> Self:
        for queue in self._queues:
            queue.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(queue.stop() for queue in self._queues))

    async def submit(self, batch: Sequence[Alert]) -> asyncio.Future[None]:
        """Queue a batch. The future is done when every receiver has accepted or rejected it."""
        alerts = [alert for alert in batch if self._should_send(alert)]
        countdown = _Countdown(len(alerts) * len(self._queues))
        for alert in alerts:
            for queue in self._queues:
                await queue.put(alert, countdown)
        return countdown.done

    def _should_send(self, alert: Alert) -> bool:
        """Whether an alert is severe enough, or was: receivers need its later states too.

        The end of an alert that opened before this process started is sent in any case.
        """
        before = self._sent.pop(alert.id, alert.state == "resolved")
        send = before or alert.severity in self._severe
        if alert.state != "resolved":
            self._sent[alert.id] = send
            if len(self._sent) > _REMEMBERED:
                del self._sent[next(iter(self._sent))]
        return send


class _Countdown:
    """Counts the deliveries of a batch, one per alert and receiver; `done` after the last."""

    def __init__(self, count: int) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left = count + 1
        self.decrement()

    def decrement(self) -> None:
        self._left -= 1
        if not self._left and not self.done.done():
            self.done.set_result(None)


class _ReceiverQueue:
    """One receiver's queue and the task that empties it."""

    def __init__(self, receiver: Receiver, metrics: Metrics) -> None:
        self._receiver = receiver
        self._queue: asyncio.Queue[tuple[Alert, _Countdown]] = asyncio.Queue(_QUEUE)
        self._task: asyncio.Task[None] | None = None
        self._undelivered = metrics.undelivered.labels(receiver.name)
        self._undelivered.set(0)
        self._outcomes = {
            outcome: metrics.deliveries.labels(receiver.name, outcome)
            for outcome in ("delivered", "refused", "retried")
        }

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"deliver to {self._receiver.name}")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def put(self, alert: Alert, countdown: _Countdown) -> None:
        self._undelivered.inc()
        await self._queue.put((alert, countdown))

    async def _run(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < _BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await self._deliver([alert for alert, _ in batch])
            for _, countdown in batch:
                countdown.decrement()

    async def _deliver(self, alerts: list[Alert]) -> None:
        """Send alerts until each is accepted or rejected. Halve a rejected request to find which.

        An error other than `AwayError` rejects.
        """
        try:
            await self._send(alerts)
        except Exception as error:
            if len(alerts) > 1:
                middle = len(alerts) // 2
                await self._deliver(alerts[:middle])
                await self._deliver(alerts[middle:])
                return
            name, alert = self._receiver.name, alerts[0]
            log.error("alert_refused receiver=%s id=%s reason=%r", name, alert.id, str(error))
            self._outcomes["refused"].inc()
        else:
            self._outcomes["delivered"].inc(len(alerts))
        self._undelivered.dec(len(alerts))

    async def _send(self, alerts: list[Alert]) -> None:
        """Send one request, again and again while the receiver is down."""
        name, failed_at = self._receiver.name, None
        for pause in pauses(*_PAUSES):
            try:
                await self._receiver.send(alerts)
                break
            except AwayError as error:
                if failed_at is None:
                    log.warning("receiver_away receiver=%s reason=%r", name, str(error))
                    failed_at = time.monotonic()
                self._outcomes["retried"].inc(len(alerts))
                await asyncio.sleep(max(pause, min(error.after, _LONGEST_RETRY_AFTER)))
        if failed_at is not None:
            away = time.monotonic() - failed_at
            log.warning("receiver_back receiver=%s away=%.0fs", name, away)
