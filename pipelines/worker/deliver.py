"""Reads alerts from their topic and delivers them to all receivers.

A batch is acknowledged when all receivers have accepted or rejected it. So alerts wait in Kafka for
a receiver that is down, and the successor of a killed worker sends them again.
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
    """Deliver the batches of a stream of the alerts topic; the delivery must be entered."""
    async for event in stream.noack().events():
        done = await delivery.submit(list(_decoded(event.value)))
        done.add_done_callback(_acknowledge(event))


def _decoded(records: Records) -> Iterator[Alert]:
    for offset, value in zip(records.offsets.tolist(), records.values, strict=True):
        try:
            yield _decode(value or b"")
        except msgspec.MsgspecError as error:
            log.error("alert_unreadable offset=%d reason=%r", offset, str(error))


def _acknowledge(event: Any) -> Any:
    def acknowledge(done: asyncio.Future[None]) -> None:
        if not done.cancelled():
            event.ack()

    return acknowledge
