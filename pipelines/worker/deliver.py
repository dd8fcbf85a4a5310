"""Delivering alerts: from their topic to every receiver that is configured.

A batch is acknowledged when all receivers have it, so alerts wait in Kafka for a receiver that is
away, and a worker killed in between sends them again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import msgspec

from monitor.alerting.alerts import Alert
from pipelines.kafka.record_batch import Records
from pipelines.notify import Delivery

log = logging.getLogger(__name__)

_decode = msgspec.json.Decoder(Alert).decode


async def deliver(stream: Any, delivery: Delivery) -> None:
    """Hand a stream of batches of the alerts topic to a delivery that is entered."""
    async for event in stream.noack().events():
        done = await delivery.submit(list(_read(event.value)))
        done.add_done_callback(_acknowledge(event))


def _read(records: Records) -> Iterator[Alert]:
    for offset, value in zip(records.offsets.tolist(), records.values, strict=True):
        try:
            yield _decode(value or b"")
        except msgspec.MsgspecError as error:
            log.error("no_alert offset=%d reason=%r", offset, str(error))


def _acknowledge(event: Any) -> Any:
    def acknowledge(done: asyncio.Future[None]) -> None:
        if not done.cancelled():
            event.ack()

    return acknowledge
