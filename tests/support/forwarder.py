"""`xm forward` as a process that tests stop and kill."""

from __future__ import annotations

import asyncio
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError
from prometheus_client.parser import text_string_to_metric_families

from tests.support.programs import WebServer


class Forwarder(WebServer):
    """A forwarder with a spool of its own, ready when its page answers.

    Args:
        folder: for its log and its spool.
        kafka: bootstrap servers.
        topic: where requests go.
        arguments: of the command.
        settings: more environment variables.
    """

    page = "/healthz"

    def __init__(
        self, folder: Path, kafka: str, topic: str, *arguments: object, **settings: str
    ) -> None:
        super().__init__(folder)
        self.arguments = [str(each) for each in arguments]
        self.environment = {
            "XM_KAFKA": kafka,
            "XM_TOPICS__REQUESTS": topic,
            "XM_FORWARD__PORT": str(self.port),
            "XM_FORWARD__SPOOL": str(folder / "spool"),
            **settings,
        }

    def command(self) -> list[str]:
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        program = [sys.executable, "-m", "pipelines.cli.main", "forward"]
        return ["env", *variables, *program, *self.arguments]

    def metrics(self) -> dict[str, float]:
        """Its metrics: by name, and the values of labels."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as page:
            families = text_string_to_metric_families(page.read().decode())
            return {
                " ".join([sample.name, *sample.labels.values()]): sample.value
                for family in families
                for sample in family.samples
            }


def read_topic(kafka: str, topic: str, partitions: int = 1) -> list[Any]:
    """All records of a topic, in order within a partition.

    An aiokafka consumer may wait without end for the metadata of a broker that has just started, so
    reading begins again with a new one.
    """
    for _ in range(4):
        with suppress(KafkaTimeoutError):
            return asyncio.run(_read(kafka, topic, partitions))
    return asyncio.run(_read(kafka, topic, partitions))


async def _read(kafka: str, topic: str, partitions: int) -> list[Any]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, auto_offset_reset="earliest", request_timeout_ms=10_000
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(places)
        records: list[Any] = []
        for place, end in (await consumer.end_offsets(places)).items():
            while await consumer.position(place) < end:
                records += (await consumer.getmany(place, timeout_ms=1_000)).get(place, [])
        return records
    finally:
        await consumer.stop()
