"""CPU time of compressed messages: to send them, and to fetch and decode them.

    python -m tests.benchmarks.speed.compression --libs DIR [--events 20000] [--rounds 4]

Apache Kafka runs on this machine. The first round warms up; the others' median is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from pipelines.kafka.fetch import deliver_whole_fetches
from pipelines.kafka.outlet import Message
from pipelines.simulation.scenario import Scenario, Simulation, messages
from pipelines.traffic.producer import send
from tests.support.apps import new_topic
from tests.support.servers import Kafka

PARTITIONS = 4
COMPRESSIONS = ("none", "snappy", "lz4", "zstd")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--libs", type=Path, required=True, help="folder of Apache Kafka's jars")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    batches = _traffic(options.events)
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in COMPRESSIONS}
    with tempfile.TemporaryDirectory() as folder, Kafka(Path(folder), options.libs) as kafka:
        for _ in range(options.rounds):
            for name in COMPRESSIONS:
                spent[name].append(_round(kafka.address, batches, name, options.events))
    for name, rounds in spent.items():
        sending, fetching = map(statistics.median, zip(*rounds[1:], strict=True))
        print(f"{name:7} send {sending:5.2f} µs, fetch and decode {fetching:5.2f} µs per event")


def _traffic(events: int) -> list[list[Message]]:
    found: list[list[Message]] = []
    for batch in messages(Simulation(Scenario(seed=1)).events()):
        found.append(list(batch)[: events - sum(map(len, found))])
        if sum(map(len, found)) == events:
            break
    return found


def _round(
    kafka: str, batches: list[list[Message]], compression: str, events: int
) -> tuple[float, float]:
    """Microseconds of CPU per event."""
    topic, start = new_topic(kafka, PARTITIONS), time.process_time()
    asyncio.run(send(batches, kafka, topic, compression=compression))
    sent = time.process_time()
    asyncio.run(_fetch(kafka, topic, events))
    return 1e6 * (sent - start) / events, 1e6 * (time.process_time() - sent) / events


async def _fetch(kafka: str, topic: str, events: int) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, auto_offset_reset="earliest", max_partition_fetch_bytes=4 << 20
    )
    await consumer.start()
    deliver_whole_fetches(consumer)
    consumer.assign([TopicPartition(topic, number) for number in range(PARTITIONS)])
    while events > 0:
        for fetched in (await consumer.getmany(timeout_ms=500)).values():
            events -= sum(len(records.values) for records in fetched)
    await consumer.stop()


if __name__ == "__main__":
    main()
