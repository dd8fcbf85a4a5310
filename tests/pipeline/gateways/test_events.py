from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from monitor.config import Settings, Topics
from monitor.requests.mappings import FieldMapping
from pipelines.gateways.client.events import EventProducer
from pipelines.gateways.client.metrics import ClientMetrics
from pipelines.gateways.client.native import message
from pipelines.kafka import topics
from tests.support.apps import fresh, until
from tests.support.forwarder import read_topic
from tests.support.servers import Tansu

NOBODY = "127.0.0.1:1"
PARTITIONS = 4  # as many as Tansu makes for a producer that asks for the topic first
MAPPING = FieldMapping("openai")


class Sender:
    """A producer and its counts."""

    def __init__(self, kafka: str, **bounds: int) -> None:
        self.settings = Settings(
            kafka=kafka, topics=Topics(requests=fresh("requests"), partitions=PARTITIONS)
        )
        self.metrics = ClientMetrics(CollectorRegistry())
        self.producer = EventProducer(self.settings, self.metrics, **bounds)

    def put(self, number: int, size: int = 100, **fields: Any) -> None:
        record = {"ts": time.time(), "api_key": "sk-1", "request_id": f"r{number}", **fields}
        self.producer.put(partial(message, record, MAPPING), size)

    def count(self, outcome: str) -> float:
        return self.metrics.events.labels(outcome)._value.get()

    async def ids(self) -> list[str]:
        """Ids of the events on the topic."""
        topic = self.settings.topics.requests
        records = await asyncio.to_thread(read_topic, self.settings.kafka, topic, PARTITIONS)
        return sorted(msgspec.json.decode(each.value)["id"] for each in records)


@asynccontextmanager
async def sending(kafka: str, **bounds: int) -> AsyncIterator[Sender]:
    sender = Sender(kafka, **bounds)
    try:
        yield sender
    finally:
        await sender.producer.close(0.0)


async def test_events_reach_kafka_under_the_account(kafka: str) -> None:
    async with sending(kafka) as sender:
        await asyncio.to_thread(topics.create, sender.settings)
        for number in range(1_200):
            sender.put(number, account="acme")
        await until(lambda: sender.count("sent") == 1_200)
        records = await asyncio.to_thread(
            read_topic, kafka, sender.settings.topics.requests, PARTITIONS
        )
        assert len(records) == 1_200
        assert {record.key for record in records} == {b"acme"}


async def test_events_that_cannot_be_encoded_stop_no_others(kafka: str) -> None:
    async with sending(kafka) as sender:
        await asyncio.to_thread(topics.create, sender.settings)
        sender.put(1)
        sender.put(2, ts=None)
        sender.put(3)
        await until(lambda: sender.count("sent") == 2)
        assert sender.count("refused") == 1
        assert await sender.ids() == ["r1", "r3"]


async def test_events_wait_while_kafka_is_away(tmp_path: Path) -> None:
    server = Tansu(tmp_path)
    async with sending(server.address) as sender:
        for number in range(20):
            sender.put(number)
        await asyncio.sleep(0)
        await asyncio.to_thread(server.start)
        try:
            await asyncio.to_thread(topics.create, sender.settings)
            await until(lambda: sender.count("sent") == 20)
            assert len(await sender.ids()) == 20
        finally:
            await asyncio.to_thread(server.stop)


@pytest.mark.parametrize("bounds", [{"most": 3}, {"most_bytes": 300}])
async def test_events_beyond_the_bounds_are_dropped_and_counted(bounds: dict[str, int]) -> None:
    async with sending(NOBODY, **bounds) as sender:
        for number in range(5):
            sender.put(number)
        assert len(sender.producer) == 3
        assert sender.count("dropped") == 2
        await sender.producer.close(0.1)
        assert sender.count("dropped") == 5
