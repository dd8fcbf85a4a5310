"""Delivering alerts: from their topic to every receiver that is configured.

A batch is acknowledged when all receivers have it, so alerts wait in Kafka for a receiver that is
away, and a worker killed in between sends them again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec

from monitor.alerts import Alert
from pipelines.notify import Delivery

log = logging.getLogger(__name__)

_decode = msgspec.json.Decoder(Alert).decode


async def deliver(stream: Any, delivery: Delivery) -> None:
    """Hand a stream of batches of the alerts topic to a delivery that is entered."""
    async for event in stream.noack().events():
        done = await delivery.submit([alert for record in event.value for alert in _read(record)])
        done.add_done_callback(_acknowledge(event))


def _read(record: Any) -> list[Alert]:
    try:
        return [_decode(record.value)]
    except (msgspec.MsgspecError, TypeError) as error:
        log.error("no_alert offset=%d reason=%r", record.offset, str(error))
        return []


def _acknowledge(event: Any) -> Any:
    def acknowledge(done: asyncio.Future[None]) -> None:
        if not done.cancelled():
            event.ack()

    return acknowledge
