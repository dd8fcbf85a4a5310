"""A worker reports the progress of its partitions to the linker."""

from __future__ import annotations

from unittest.mock import AsyncMock

import pytest

from monitor.campaigns.order.progress import Progress, decode, is_progress
from monitor.campaigns.order.sources import GRACE
from monitor.campaigns.rounds import ROUND
from monitor.config import Settings
from monitor.store.memory import MemoryStore
from pipelines.worker.watch import Watch
from tests.support.requests import request
from tests.support.watching import TOPIC, App, Event, Kafka, engine_on

PRINTS = Settings().topics.fingerprints


def reporting(kafka: Kafka) -> Watch:
    store = MemoryStore()
    return Watch(App(kafka), engine_on(store), store, Settings().topics, TOPIC, reports=True)


def reports(kafka: Kafka, partition: int = 0) -> list[Progress]:
    """What was reported to a partition of the linker."""
    sent = [each for each in kafka.sent if (each.topic, each.partition) == (PRINTS, partition)]
    found = [decode(each.value) for each in sent if is_progress(each.value)]
    return [each for each in found if each is not None]


async def test_partition_is_reported_before_its_first_fingerprints() -> None:
    kafka = Kafka()
    await reporting(kafka).observe(Event(7, [request("sk-1") for _ in range(20)]))
    sent = [is_progress(each.value) for each in kafka.sent if each.topic == PRINTS]
    assert sent[: kafka.count] == [True] * kafka.count
    assert False in sent[kafka.count :]
    begun = reports(kafka)[0]
    assert (begun.topic, begun.count) == (TOPIC, kafka.count)
    assert [(each.watermark, each.offset, each.caught_up) for each in begun.partitions] == [
        (0.0, 7, False)
    ]


async def test_round_is_reported_to_all_linkers_after_its_fingerprints() -> None:
    kafka = Kafka()
    watch = reporting(kafka)
    await watch.observe(Event(0, [request("sk-1")]))
    kafka.sent.clear()
    await watch.observe(Event(1, [request("sk-1", ROUND + GRACE) for _ in range(20)]))
    for linker in range(kafka.count):
        (reported,) = reports(kafka, linker)[-1].partitions
        assert (reported.offset, reported.caught_up) == (21, True)
    assert is_progress(kafka.sent[-1].value)


async def test_batch_that_passes_no_round_is_not_reported() -> None:
    kafka = Kafka()
    watch = reporting(kafka)
    await watch.observe(Event(0, [request("sk-1")]))
    kafka.sent.clear()
    await watch.observe(Event(1, [request("sk-2", 1.0)]))
    assert reports(kafka) == []


async def test_all_partitions_are_reported_regularly() -> None:
    kafka = Kafka()
    watch = reporting(kafka)
    await watch.observe(Event(0, [request("sk-1")]))
    kafka.sent.clear()
    assert watch._reports is not None
    await watch._reports.send_regularly()
    await watch._reports.send_regularly()  # it is not time yet
    (reported,) = reports(kafka)
    assert [(each.number, each.offset) for each in reported.partitions] == [(0, 1)]


async def test_worker_goes_on_while_kafka_takes_no_report(caplog: pytest.LogCaptureFixture) -> None:
    kafka = Kafka()
    watch = reporting(kafka)
    await watch.observe(Event(0, [request("sk-1")]))
    kafka.sent.clear()
    kafka.partitions = AsyncMock(side_effect=ConnectionError("no broker"))  # type: ignore[method-assign]
    assert watch._reports is not None
    await watch._reports.send_regularly()
    assert "progress_not_sent reason='no broker'" in caplog.messages
    assert reports(kafka) == []
