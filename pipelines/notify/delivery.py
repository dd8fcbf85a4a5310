"""Delivery: every alert reaches every receiver whose route it meets, once and in order.

Each receiver has its own queue and its own task, so a slow or dead one delays no other. A batch is
delivered when every receiver has accepted or rejected all of it. Only then is its offset
acknowledged, so a successor of a dead worker reads again what was in the queues; the ledger knows
which receivers have it already. When a queue is full, `submit` waits, and with it the reading of
the topic.

A receiver gets a state of an alert once, by (id, state, severity, detected_at). There are two gaps:
an answer that is lost on the way, and a worker that dies between the answer and the entry in the
ledger. The message then comes again with the same identity: the dedup key of PagerDuty, the alias
of Opsgenie, the labels of Alertmanager, the id of a CloudEvent, the Message-ID of an e-mail, and
id, state and detected_at in a webhook. Slack and Teams have no such identity and show it twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Self

from monitor.alerting.alerts import Alert
from monitor.metrics import Metrics
from monitor.store.operate.processes import ReceiverHealth
from pipelines.notify.circuit import Clock
from pipelines.notify.dead_letters import Publish
from pipelines.notify.incidents.ledger import Ledger
from pipelines.notify.queue import Countdown, ReceiverQueue
from pipelines.notify.route import Route

TICK = 10.0  # seconds between looks at hours, silences and alerts to send again

log = logging.getLogger(__name__)


class Delivery:
    """Sends alerts to receivers while it is entered (`async with`).

    Args:
        routes: the receivers, and the alerts that each gets.
        ledger: what was delivered before; default: one in memory.
        partitions: the partitions of the alerts topic that this worker reads.
        publish: takes the alerts that a receiver did not accept.
        give_up_seconds: age at which an alert is such.
        clock: default: the wall clock.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        ledger: Ledger | None = None,
        partitions: Callable[[], frozenset[int]] | None = None,
        publish: Publish | None = None,
        give_up_seconds: float = 86_400.0,
        metrics: Metrics | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.metrics = metrics or Metrics()
        self._clock = clock or Clock()
        self._ledger = ledger or Ledger()
        self._partitions = partitions
        self._queues = [
            ReceiverQueue(route, self._ledger, self.metrics, self._clock, give_up_seconds, publish)
            for route in routes
        ]
        self._ticking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        for queue in self._queues:
            queue.start()
        self._ticking = asyncio.create_task(self._tick(), name="alert book")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._ticking:
            self._ticking.cancel()
            await asyncio.wait([self._ticking])
        await asyncio.gather(*(queue.stop() for queue in self._queues))

    async def submit(self, batch: Sequence[Alert], partition: int = 0) -> asyncio.Future[None]:
        """Queue a batch. The future is done when every receiver has accepted or rejected it.

        Args:
            partition: of the alerts topic, that the batch is from.
        """
        await self._ledger.observe(batch, partition, self._clock.now())
        countdown = Countdown(len(batch) * len(self._queues))
        for alert in batch:
            for queue in self._queues:
                await queue.put(alert, countdown)
        return countdown.done

    def health(self) -> list[ReceiverHealth]:
        """What each receiver did lately."""
        return [queue.health for queue in self._queues]

    async def _tick(self) -> None:
        while True:
            owned = self._partitions() if self._partitions else None
            try:
                await self._ledger.tick(owned, self._clock.now())
                for queue in self._queues:
                    queue.tick()
            except Exception:  # alerts must go on
                log.error("alert_book_failed", exc_info=True)
            await self._clock.sleep(TICK)
