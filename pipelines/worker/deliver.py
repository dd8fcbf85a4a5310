"""Reads alerts from their topic, delivers them to all receivers and records them in cases.

A batch is acknowledged when all receivers have accepted or rejected it, and its entries in cases
are written. So alerts wait in Kafka for a receiver that is down, and the successor of a killed
worker sends and records them again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import msgspec
from aiokafka.errors import KafkaError

from monitor.alerting.alerts import Alert
from monitor.backoff import pauses
from monitor.config import Settings
from monitor.metrics import Metrics
from monitor.store.alert_book import AlertBook
from monitor.store.control import ControlStore
from monitor.store.operate.processes import Place
from pipelines.cases.recorder import Message
from pipelines.cases.recording import Recording
from pipelines.kafka.record_batch import Records
from pipelines.notify import Delivery, routes
from pipelines.notify.dead_letters import DeadLetter
from pipelines.notify.incidents.ledger import Ledger

_BOOK_SECONDS = 2.0  # for an answer of Redis; alerts do not wait longer for it
_PAUSES = 0.25, 10.0  # seconds between attempts, the first and the longest

log = logging.getLogger(__name__)

_decode = msgspec.json.Decoder(Alert).decode


async def deliver(stream: Any, delivery: Delivery, recording: Recording | None = None) -> None:
    """Deliver the batches of a stream of the alerts topic, and record them.

    Delivery and recording must be entered. Recording is queued, so it delays no delivery.
    """
    async for event in stream.noack().events():
        place = f"{event.message.topic}:{event.message.partition}"
        messages = [Message(f"{place}:{n}", alert) for n, alert in _decoded(event.value)]
        alerts = [message.alert for message in messages]
        waiting = [await delivery.submit(alerts, event.message.partition)]
        if recording is not None:
            waiting.append(recording.submit(messages))
        asyncio.gather(*waiting).add_done_callback(_acknowledge(event))


def ledger_of(settings: Settings) -> Ledger:
    """The ledger of a worker."""
    url = settings.redis_url
    return Ledger(AlertBook(url, _BOOK_SECONDS), ControlStore(url, _BOOK_SECONDS))


def delivery_of(app: Any, settings: Settings, metrics: Metrics, ledger: Ledger) -> Delivery:
    """The delivery of a worker.

    Raises:
        ConfigError: if a receiver cannot be used.
    """
    topics = settings.topics

    def partitions() -> frozenset[int]:
        return frozenset(
            tp.partition for tp in app.consumer.assignment() if tp.topic == topics.alerts
        )

    async def publish(letter: DeadLetter) -> None:
        key, value = letter.alert.subject.id.encode(), msgspec.json.encode(letter)
        for pause in pauses(*_PAUSES):
            try:
                producer = await app.maybe_start_producer()
                await (await producer.send(topics.undelivered, key, value, None, None, None))
                return
            except KafkaError as error:
                log.warning("undelivered_not_sent reason=%r", str(error))
                await asyncio.sleep(pause)

    return Delivery(
        routes(settings),
        ledger=ledger,
        partitions=partitions,
        publish=publish,
        give_up_seconds=3600.0 * settings.receivers.give_up_hours,
        metrics=metrics,
    )


def delivered(app: Any, topic: str) -> Iterator[Place]:
    """How far alerts are delivered, by the partitions of this worker."""
    consumer = app.consumer
    for tp in consumer.assignment():
        if tp.topic == topic:
            committed = consumer._committed_offset.get(tp) or 0
            yield Place(f"{topic}:{tp.partition}", committed, consumer.lag(tp, committed), 0.0)


def _decoded(records: Records) -> Iterator[tuple[int, Alert]]:
    """The alerts, with their offsets."""
    for offset, value in zip(records.offsets.tolist(), records.values, strict=True):
        try:
            yield offset, _decode(value or b"")
        except msgspec.MsgspecError as error:
            log.error("alert_unreadable offset=%d reason=%r", offset, str(error))


def _acknowledge(event: Any) -> Any:
    def acknowledge(done: asyncio.Future[Any]) -> None:
        if not done.cancelled():
            event.ack()

    return acknowledge
