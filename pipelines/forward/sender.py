"""Sender: from the spool to Kafka, in order, until Kafka has acknowledged each message.

A message leaves the spool after its acknowledgement. After a crash in between it is sent again: the
worker counts a repeated request id once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from monitor.backoff import pauses
from monitor.config import Settings
from monitor.errors import ConfigError
from pipelines.forward.metrics import ForwardMetrics
from pipelines.forward.spool import Spool, Spooled, SpoolError
from pipelines.kafka.outlet import BATCH, DeliveryError, Outlet

log = logging.getLogger(__name__)

_PATIENCE = 30.0  # seconds to retry a batch before the connection is built up again
_END = 3.0  # seconds to wait for Kafka at the end
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0  # seconds between attempts
_TOO_LARGE = "Kafka refuses messages of this size: raise max.message.bytes of the topic."


class Sender:
    """Sends what is in the spool.

    Args:
        settings: of Kafka.
        spool: holds the messages.
        metrics: counts.

    Attributes:
        trouble: why Kafka does not get messages now; `None` while it does.
    """

    def __init__(self, settings: Settings, spool: Spool, metrics: ForwardMetrics) -> None:
        self.trouble: str | None = "Kafka has not been reached yet."
        self._settings, self._spool, self._metrics = settings, spool, metrics
        self._away = False

    async def run(self) -> None:
        """Send until cancelled."""
        waits = pauses(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            try:
                async with self._outlet() as outlet:
                    while True:
                        self._report(None)
                        await self._send(outlet, await self._next())
                        waits = pauses(_FIRST_PAUSE, _LONGEST_PAUSE)
            except (DeliveryError, ConfigError) as error:
                self._report(str(error))
            await asyncio.sleep(next(waits))

    @asynccontextmanager
    async def _outlet(self, batch: int = BATCH) -> AsyncIterator[Outlet]:
        """A connected producer. What it has not sent at the end is still in the spool."""
        settings = self._settings
        outlet = Outlet(
            settings.kafka,
            settings.topics.requests,
            _PATIENCE,
            settings.kafka_security,
            settings.kafka_compression,
            batch,
        )
        await outlet.__aenter__()
        try:
            yield outlet
        finally:
            with suppress(DeliveryError, TimeoutError):
                await asyncio.wait_for(outlet.__aexit__(), _END)

    async def _next(self) -> Spooled:
        while True:
            try:
                return await self._spool.next()
            except SpoolError as error:
                self._report(str(error))
                await asyncio.sleep(_LONGEST_PAUSE)

    async def _send(self, outlet: Outlet, spooled: Spooled) -> None:
        before = outlet.sent.refused
        for message in spooled.messages:
            await outlet.put(message)
        await outlet.settle()
        refused = outlet.sent.refused - before
        if refused > sum(len(message.value) > BATCH for message in spooled.messages):
            refused = await self._send_alone(spooled)  # a whole batch was refused
        if refused:
            self._metrics.refused.inc(refused)
            log.error("messages_refused count=%d reason=%r", refused, _TOO_LARGE)
        self._metrics.sent.inc(len(spooled.messages) - refused)
        while True:  # do not send them again because the disk is full
            with suppress(SpoolError):
                await self._spool.remove(spooled)
                return
            await asyncio.sleep(_LONGEST_PAUSE)

    async def _send_alone(self, spooled: Spooled) -> int:
        """Send each message in a batch of its own; the number that Kafka refuses for its size."""
        async with self._outlet(batch=0) as outlet:
            for message in spooled.messages:
                await outlet.put(message)
            await outlet.settle()
        return outlet.sent.refused

    def _report(self, trouble: str | None) -> None:
        if trouble is not None and not self._away:
            log.error("kafka_away reason=%r", trouble)
        elif trouble is None and self._away:
            log.info("kafka_back")
        self._away = trouble is not None
        self.trouble = trouble
