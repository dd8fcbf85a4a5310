"""The way of messages into Kafka, and the account of what Kafka has acknowledged.

Batches are filled here: aiokafka's sending of single messages costs 3.5 times the CPU. All
in-sync replicas acknowledge (`acks=all`), and one batch a partition is under way at a time, so
order holds through retries. A batch whose acknowledgement was lost is written again; the worker
counts a repeated request id once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder

from monitor.config import KafkaSecurity
from monitor.errors import MonitorError
from pipelines.kafka.security import check, client_options

_BATCH = 256 << 10  # bytes; with a larger message it holds nothing else
_TOPIC_SECONDS = 5.0  # for which a topic that is not there is waited for


class DeliveryError(MonitorError):
    """Kafka does not take the messages."""


class Message(NamedTuple):
    """What one Kafka message carries, and the event time that paces it."""

    key: bytes | None
    value: bytes
    ts: float | None = None


@dataclass(slots=True)
class Sent:
    """How far sending has come, in messages.

    Attributes:
        handed: given to the producer.
        acknowledged: written, as all in-sync replicas say.
        refused: larger than the topic accepts (`max.message.bytes`).
        keyless: handed over without a key, because none could be found.
    """

    handed: int = 0
    acknowledged: int = 0
    refused: int = 0
    keyless: int = 0


class Outlet:
    """Open batches, one a partition, and the account of those handed over."""

    def __init__(
        self, bootstrap: str, topic: str, patience: float, security: KafkaSecurity
    ) -> None:
        self.sent = Sent()
        self._bootstrap, self._topic, self._security = bootstrap, topic, security
        self._producer = AIOKafkaProducer(
            **client_options(bootstrap, security),
            client_id="extraction-monitor-producer",
            acks="all",
            max_batch_size=_BATCH,
            request_timeout_ms=int(patience * 1000),
            retry_backoff_ms=500,
        )
        self._partitions: list[int] = []
        self._batches: dict[int, BatchBuilder] = {}
        self._failure: BaseException | None = None

    async def __aenter__(self) -> Outlet:
        await check(self._bootstrap, self._security)
        try:
            await self._producer.start()
            known = self._producer.partitions_for(self._topic)
            self._partitions = sorted(await asyncio.wait_for(known, _TOPIC_SECONDS))
        except BaseException as error:
            await self._producer.stop()
            if isinstance(error, UnknownTopicOrPartitionError | TimeoutError):
                raise DeliveryError(
                    f"Kafka at {self._bootstrap} has no topic {self._topic}: make it with "
                    "`xm topics create`."
                ) from error
            if isinstance(error, KafkaError):
                raise DeliveryError(
                    f"Kafka at {self._bootstrap} does not answer ({type(error).__name__}): "
                    "start it, or point XM_KAFKA at it."
                ) from error
            raise
        self._batches = {number: self._producer.create_batch() for number in self._partitions}
        return self

    async def put(self, message: Message) -> None:
        """Add to the batch of the key's partition; waits while Kafka is behind."""
        if message.key is None:
            partition = self._partitions[self.sent.keyless % len(self._partitions)]
            self.sent.keyless += 1
        else:
            partition = self._partitions[_hash(message.key) % len(self._partitions)]
        batch = self._batches[partition]
        while batch.append(timestamp=None, key=message.key, value=message.value) is None:
            await self._ship(partition)
            batch = self._batches[partition]
        self.sent.handed += 1

    async def flush(self) -> None:
        """Hand over what lies open."""
        self._check()
        for partition, batch in self._batches.items():
            if batch.record_count():
                await self._ship(partition)

    async def __aexit__(self, *_: object) -> None:
        """Wait until everything handed over is settled."""
        try:
            if self._failure is None:
                await self.flush()
        finally:
            await self._producer.stop()
        self._check()

    async def _ship(self, partition: int) -> None:
        self._check()
        batch, self._batches[partition] = self._batches[partition], self._producer.create_batch()
        try:
            settled = await self._producer.send_batch(batch, self._topic, partition=partition)
        except KafkaError as error:
            self._failure = error
            self._check()
        settled.add_done_callback(partial(self._settle, batch.record_count()))

    def _settle(self, messages: int, settled: asyncio.Future[object]) -> None:
        error = settled.exception()
        if error is None:
            self.sent.acknowledged += messages
        elif isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
            self.sent.refused += messages
        else:
            self._failure = self._failure or error

    def _check(self) -> None:
        if self._failure is not None:
            raise DeliveryError(
                f"Kafka at {self._bootstrap} stopped taking messages "
                f"({type(self._failure).__name__}) after acknowledging "
                f"{self.sent.acknowledged:,}: see that it runs, then send everything again, "
                "for a repeated request id counts once."
            ) from self._failure


@lru_cache(1 << 16)
def _hash(key: bytes) -> int:
    """What Java's default partitioner divides by the number of partitions."""
    return int(murmur2(key)) & 0x7FFFFFFF
