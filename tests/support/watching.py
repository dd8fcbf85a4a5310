"""Stand-ins for Kafka and Faust around a real `Watch`, so that Kafka can fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import faust.types

from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.store.base import Checkpoint
from monitor.store.memory import MemoryStore
from pipelines.kafka.record_batch import Records
from pipelines.worker.watch import Watch

TOPIC, NAME = "requests", "requests:0"
TP = faust.types.TP(TOPIC, 0)


class Sent(NamedTuple):
    topic: str
    partition: int | None
    value: bytes


class Kafka:
    """Takes messages like a Faust producer.

    Attributes:
        count: partitions of every topic.
        sent: the messages that it took.
        timestamps: of the messages on each topic, epoch seconds; `None` for the time of sending.
        refusals: messages that it will refuse.
        holds: whether it acknowledges nothing until `release`.
    """

    def __init__(self) -> None:
        self.count = 4
        self.sent: list[Sent] = []
        self.timestamps: dict[str, list[float | None]] = {}
        self.refusals = 0
        self.holds = False
        self._held: list[asyncio.Future[None]] = []

    async def send(
        self,
        topic: str,
        _key: Any,
        value: bytes,
        number: int | None,
        timestamp: float | None,
        _: Any,
    ) -> asyncio.Future[None]:
        delivery: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.refusals:
            self.refusals -= 1
            delivery.set_exception(ConnectionError("the broker refuses"))
            return delivery
        self.sent.append(Sent(topic, number, value))
        self.timestamps.setdefault(topic, []).append(timestamp)
        self._held.append(delivery)
        if not self.holds:
            self.release()
        return delivery

    async def partitions(self, _topic: str) -> int:
        return self.count

    def release(self) -> None:
        for delivery in self._held:
            delivery.set_result(None)
        self._held.clear()


class Unreliable(MemoryStore):
    """A store that raises `error` instead of committing."""

    error: Exception | None = None

    def commit(self, checkpoint: Checkpoint) -> None:
        if self.error is not None:
            raise self.error
        super().commit(checkpoint)


class Stream:
    """A Faust stream of some events."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events

    def noack(self) -> Stream:
        return self

    async def events(self) -> AsyncIterator[Event]:
        for event in self._events:
            yield event


class App:
    """The part of a Faust app that Watch uses."""

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.consumer_generation_id = 1
        self.sought: list[int] = []
        self.consumer = SimpleNamespace(
            assignment=lambda: {TP},
            lag=lambda *_: 0,
            has_caught_up=lambda *_: True,
            seek=self.seek,
            earliest_offsets=self.earliest_offsets,
        )
        self.should_stop = False
        self.crashes: list[BaseException] = []

    async def maybe_start_producer(self) -> Kafka:
        return self.kafka

    async def seek(self, _: Any, offset: int) -> None:
        self.sought.append(offset)

    async def earliest_offsets(self, tp: Any) -> dict[Any, int]:
        return {tp: 100}

    async def crash(self, error: BaseException) -> None:
        self.crashes.append(error)


class Event:
    """Messages that arrived in Kafka at one time, epoch seconds; `None` if it is not recorded."""

    def __init__(
        self,
        start: int,
        values: list[bytes],
        arrived: float | None = None,
        key: bytes | None = b"key",
    ) -> None:
        offsets = range(start, start + len(values))
        timestamp = None if arrived is None else int(1000 * arrived)
        records = [
            SimpleNamespace(offset=n, timestamp=timestamp, key=key, value=v)
            for n, v in zip(offsets, values, strict=True)
        ]
        self.message = SimpleNamespace(topic=TOPIC, partition=0, tp=TP, generation_id=1)
        self.value = Records.of(records)
        self.acked = False

    def ack(self) -> None:
        self.acked = True


def engine_on(store: MemoryStore, **settings: object) -> Engine:
    chosen = Settings().model_copy(update=settings)  # unchecked: 8 rows are too few for a worker
    return Engine(chosen, Identity(b"0123456789abcdef", plain=True), store)


def watch_on(app: App, store: MemoryStore, engine: Engine | None = None) -> Watch:
    return Watch(app, engine or engine_on(store), store, Settings().topics, TOPIC)
