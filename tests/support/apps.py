"""Topics with records, and Faust apps that run inside a test."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import faust
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from pipelines.kafka.transport import DEFAULTS

# Tansu waits half the session timeout at every join; Apache Kafka requires at least 6 s.
SETTINGS: dict[str, Any] = DEFAULTS | {
    "broker_session_timeout": 6.0 if os.environ.get("XM_TEST_KAFKA") else 3.0,
    "broker_heartbeat_interval": 0.5,
    "web_enabled": False,
}


def fresh(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:12]}"


def new_topic(kafka: str, partitions: int = 1) -> str:
    name = fresh("topic")
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    admin.create_topics([NewTopic(name, partitions, 1)], wait_for_metadata=True)
    admin.close()
    return name


async def fill(kafka: str, topic: str, records: int, partition: int = 0) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, linger_ms=20)
    await producer.start()
    for index in range(records):
        key, value = b"k%d" % (index % 7), b"%d" % index
        await producer.send(topic, key=key, value=value, partition=partition)
    await producer.stop()


def batch_app(kafka: str, group: str, **settings: Any) -> faust.App:
    return faust.App(group, broker=f"kafka-batch://{kafka}", **{**SETTINGS, **settings})


def keep_events(app: faust.App, topic: str) -> list[Any]:
    """Add an agent that acknowledges nothing; returns the list of its events."""
    events: list[Any] = []

    @app.agent(app.topic(topic))
    async def keep(stream: Any) -> None:
        async for event in stream.noack().events():
            events.append(event)  # noqa: PERF401

    return events


@asynccontextmanager
async def running(*apps: faust.App) -> AsyncIterator[None]:
    for app in apps:
        app.finalize()
    await asyncio.gather(*(app.start() for app in apps))
    try:
        yield
    finally:
        await asyncio.gather(*(app.stop() for app in apps))


async def until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait until a condition is true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not true within {seconds:g} s"
        await asyncio.sleep(0.02)


async def committed(kafka: str, group: str, topic: str, partition: int = 0) -> int | None:
    """The committed offset of a group."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        offset: int | None = await consumer.committed(TopicPartition(topic, partition))
        return offset
    finally:
        await consumer.stop()


def offsets(events: list[Any], partition: int = 0) -> list[int]:
    found = (e.value.offsets.tolist() for e in events if e.message.partition == partition)
    return [offset for each in found for offset in each]
