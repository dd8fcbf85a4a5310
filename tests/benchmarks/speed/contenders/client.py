"""aiokafka's getmany without processing: the limit of Kafka and its client."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer

from tests.benchmarks.speed.contenders.meter import Meter


def run(kafka: str, topic: str, redis_url: str, meter: Meter) -> None:
    asyncio.run(_read(kafka, topic, meter))


async def _read(kafka: str, topic: str, meter: Meter) -> None:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=kafka,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 << 20,
    )
    await consumer.start()
    while True:
        for records in (await consumer.getmany(timeout_ms=1_000)).values():
            meter.add(len(records))
