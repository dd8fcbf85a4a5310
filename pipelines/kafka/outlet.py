"""Sends messages to Kafka in batches and counts what Kafka acknowledges.

Batches are filled here, because sending single messages through aiokafka costs 3.5 times the CPU.
All in-sync replicas acknowledge (`acks=all`). One batch per partition is in flight at a time, so a
retry keeps the order. The broker stores a batch once whose acknowledgement is lost (`producer.py`);
what is sent again by another process has the same request ids, which the worker counts once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnknownTopicOrPartitionError,
)
from aiokafka.producer.message_accumulator import BatchBuilder

from monitor.config import KafkaSecurity
from monitor.errors import MonitorError
from pipelines.kafka.partitioner import partition_of
from pipelines.kafka.producer import Producer
from pipelines.kafka.security import async_options, check_login

COMPRESSION = "zstd"
BATCH = 256 << 10  # bytes; a larger message is sent alone
_TOPIC_SECONDS = 5.0  # to wait for a topic that does not exist yet


class DeliveryError(MonitorError):
    """Kafka does not accept the messages."""


class Message(NamedTuple):
    """A Kafka message, and the event time by which it is scheduled."""

    key: bytes | None
    value: bytes
    ts: float | None = None


@dataclass(slots=True)
class Sent:
    """Numbers of messages.

    Attributes:
        handed: passed to the producer.
        acknowledged: by all in-sync replicas.
        refused: larger than the topic accepts (`max.message.bytes`).
        keyless: passed to the producer without a key.
    """

    handed: int = 0
    acknowledged: int = 0
    refused: int = 0
    keyless: int = 0


class Outlet:
    """A producer with one open batch per partition.

    Args:
        bootstrap: Kafka brokers, `host:port`, separated by commas.
        topic: to send to.
        patience: seconds to retry a batch.
        security: TLS and login.
        compression: of batches, as `XM_KAFKA_COMPRESSION`.
        batch: bytes of a batch; 0 sends each message in one of its own.

    Attributes:
        sent: the counts.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        patience: float,
        security: KafkaSecurity,
        compression: str = COMPRESSION,
        batch: int = BATCH,
    ) -> None:
        self.sent = Sent()
        self._bootstrap, self._topic, self._security = bootstrap, topic, security
        self._patience = patience
        self._producer = Producer(
            **async_options(bootstrap, security),
            client_id="extraction-monitor-producer",
            compression_type=compression,
            max_batch_size=batch,
            request_timeout_ms=int(patience * 1000),
            retry_backoff_ms=500,
        )
        self._partitions: list[int] = []
        self._batches: dict[int, BatchBuilder] = {}
        self._deliveries: set[asyncio.Future[object]] = set()
        self._failure: BaseException | None = None

    async def __aenter__(self) -> Outlet:
        try:
            await check_login(self._bootstrap, self._security)
            await self._start()
            known = self._producer.partitions_for(self._topic)
            self._partitions = sorted(await asyncio.wait_for(known, _TOPIC_SECONDS))
        except BaseException as error:
            await self._producer.stop()
            if isinstance(error, UnknownTopicOrPartitionError | TimeoutError):
                raise DeliveryError(
                    f"Kafka at {self._bootstrap} has no topic {self._topic}: create it with "
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

    async def _start(self) -> None:
        try:
            await asyncio.wait_for(self._producer.start(), self._patience)
        except TimeoutError as error:
            raise KafkaTimeoutError() from error

    async def put(self, message: Message) -> None:
        """Add a message to the batch of its key's partition; wait while Kafka is behind."""
        if message.key is None:
            partition = self._partitions[self.sent.keyless % len(self._partitions)]
            self.sent.keyless += 1
        else:
            partition = self._partitions[partition_of(message.key, len(self._partitions))]
        batch = self._batches[partition]
        while batch.append(timestamp=None, key=message.key, value=message.value) is None:
            await self._send(partition)
            batch = self._batches[partition]
        self.sent.handed += 1

    async def flush(self) -> None:
        """Send the open batches."""
        self._check()
        for partition, batch in self._batches.items():
            if batch.record_count():
                await self._send(partition)

    async def settle(self) -> None:
        """Send the open batches, and wait until each is acknowledged or refused."""
        await self.flush()
        if self._deliveries:
            await asyncio.wait(self._deliveries)
        self._check()

    async def __aexit__(self, *_: object) -> None:
        """Send what is open, and wait for all acknowledgements."""
        try:
            if self._failure is None:
                await self.flush()
        finally:
            await self._producer.stop()
        self._check()

    async def _send(self, partition: int) -> None:
        self._check()
        batch, self._batches[partition] = self._batches[partition], self._producer.create_batch()
        try:
            delivery = await self._producer.send_batch(batch, self._topic, partition=partition)
        except KafkaError as error:
            self._failure = error
            self._check()
        self._deliveries.add(delivery)
        delivery.add_done_callback(partial(self._count, batch.record_count()))

    def _count(self, messages: int, delivery: asyncio.Future[object]) -> None:
        self._deliveries.discard(delivery)
        error = delivery.exception()
        if error is None:
            self.sent.acknowledged += messages
        elif isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
            self.sent.refused += messages
        else:
            self._failure = self._failure or error

    def _check(self) -> None:
        if self._failure is not None:
            raise DeliveryError(
                f"Kafka at {self._bootstrap} stopped accepting messages "
                f"({type(self._failure).__name__}) after acknowledging "
                f"{self.sent.acknowledged:,}: check that it runs, then send everything again: "
                "repeated request ids count once."
            ) from self._failure
