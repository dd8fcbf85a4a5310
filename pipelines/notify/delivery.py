"""Delivery: every alert reaches every receiver, in order, however long one of them is away.

Each receiver has its own queue and its own task, so one that is dead or slow holds up nobody but
itself. A batch counts as delivered when every receiver has taken or refused all of it; only then
may its place in the topic be acknowledged, so what was in the queues of a worker that dies is
read and sent again. Full queues make `submit` wait, and with it the reading of the topic.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from typing import Self

from monitor.alerting.alerts import SEVERITIES, Alert, Severity
from monitor.metrics import Metrics
from pipelines.notify.receiver import AwayError, Receiver

# Alerts in one request, alerts that may wait for one receiver, alerts remembered as told.
_TOGETHER, _WAITING, _REMEMBERED = 100, 10_000, 100_000
_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_ASKED = 0.25, 30.0, 600.0

log = logging.getLogger(__name__)


class Delivery:
    """Hands alerts to receivers while it is entered (`async with`).

    Attributes:
        least_severity: alerts that never rise to it are kept from the receivers.
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
        self._lanes = [_Lane(receiver, self.metrics) for receiver in receivers]
        self._told: dict[str, bool] = {}

    async def __aenter__(self) -> Self:
        for lane in self._lanes:
            lane.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(lane.stop() for lane in self._lanes))

    async def submit(self, batch: Sequence[Alert]) -> asyncio.Future[None]:
        """Queue a batch; the future is done when every receiver has taken or refused it."""
        alerts = [alert for alert in batch if self._concerns(alert)]
        parts = _Parts(len(alerts) * len(self._lanes))
        for alert in alerts:
            for lane in self._lanes:
                await lane.put(alert, parts)
        return parts.done

    def _concerns(self, alert: Alert) -> bool:
        """Severe enough, or the news of an alert that was: its later states must follow it.

        An end whose beginning was before this process is passed on, to be sure.
        """
        before = self._told.pop(alert.id, alert.state == "resolved")
        told = before or alert.severity in self._severe
        if alert.state != "resolved":
            self._told[alert.id] = told
            if len(self._told) > _REMEMBERED:
                del self._told[next(iter(self._told))]
        return told


class _Parts:
    """A batch's alerts times its receivers, counted down."""

    def __init__(self, count: int) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left = count + 1
        self.finish()

    def finish(self) -> None:
        self._left -= 1
        if not self._left and not self.done.done():
            self.done.set_result(None)


class _Lane:
    """One receiver's queue and the task that empties it."""

    def __init__(self, receiver: Receiver, metrics: Metrics) -> None:
        self._receiver = receiver
        self._queue: asyncio.Queue[tuple[Alert, _Parts]] = asyncio.Queue(_WAITING)
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

    async def put(self, alert: Alert, parts: _Parts) -> None:
        self._undelivered.inc()
        await self._queue.put((alert, parts))

    async def _run(self) -> None:
        while True:
            taken = [await self._queue.get()]
            while len(taken) < _TOGETHER and not self._queue.empty():
                taken.append(self._queue.get_nowait())
            await self._settle([alert for alert, _ in taken])
            for _, parts in taken:
                parts.finish()

    async def _settle(self, alerts: list[Alert]) -> None:
        """See the alerts taken or refused; a refused request is halved to spare the innocent."""
        try:
            await self._insist(alerts)
        except Exception as error:
            if len(alerts) > 1:
                middle = len(alerts) // 2
                await self._settle(alerts[:middle])
                await self._settle(alerts[middle:])
                return
            name, alert = self._receiver.name, alerts[0]
            log.error("alert_refused receiver=%s id=%s reason=%r", name, alert.id, str(error))
            self._outcomes["refused"].inc()
        else:
            self._outcomes["delivered"].inc(len(alerts))
        self._undelivered.dec(len(alerts))

    async def _insist(self, alerts: list[Alert]) -> None:
        """Send until the receiver answers, with growing pauses; raise what is not `AwayError`."""
        since, pause, name = time.monotonic(), _FIRST_PAUSE, self._receiver.name
        while True:
            try:
                await self._receiver.send(alerts)
                break
            except AwayError as error:
                if pause == _FIRST_PAUSE:
                    log.warning("receiver_away receiver=%s reason=%r", name, str(error))
                self._outcomes["retried"].inc(len(alerts))
                asked = min(error.after, _LONGEST_ASKED)
                await asyncio.sleep(max(asked, pause * random.uniform(0.5, 1.0)))
                pause = min(2 * pause, _LONGEST_PAUSE)
        if pause > _FIRST_PAUSE:
            log.warning("receiver_back receiver=%s away=%.0fs", name, time.monotonic() - since)
