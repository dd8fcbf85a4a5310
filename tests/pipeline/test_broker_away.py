"""Workers on the batch transport whose Kafka is killed, or paused, under them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.apps import (
    batch_app,
    fill,
    fresh,
    keep_events,
    new_topic,
    offsets,
    running,
    until,
)
from tests.support.batch_worker import BatchWorker
from tests.support.servers import Kafka


async def test_restarted_broker_costs_no_record(apache_kafka: Kafka) -> None:
    topic = new_topic(apache_kafka.address)
    await fill(apache_kafka.address, topic, 1_000)
    app = batch_app(apache_kafka.address, fresh("group"), broker_max_poll_records=100)
    events = keep_events(app, topic)
    async with running(app):
        await until(lambda: len(offsets(events)) == 1_000)
        apache_kafka.kill()
        apache_kafka.start()
        await fill(apache_kafka.address, topic, 1_000)
        await until(lambda: offsets(events)[-1:] == [1_999])
        assert set(offsets(events)) == set(range(2_000))


@pytest.mark.parametrize("goes_away", [Kafka.kill, Kafka.pause])
async def test_worker_stops_while_its_broker_is_down(
    apache_kafka: Kafka, tmp_path: Path, goes_away: Callable[[Kafka], None]
) -> None:
    topic = new_topic(apache_kafka.address)
    await fill(apache_kafka.address, topic, 1_000)
    worker = BatchWorker(apache_kafka.address, topic, fresh("group"), tmp_path / "log.txt")
    await until(lambda: worker.given() == 1_000)
    goes_away(apache_kafka)
    began = time.monotonic()
    worker.stop()
    assert time.monotonic() - began < 20
    apache_kafka.resume()
    assert worker.process.returncode == 0


async def test_worker_with_unsent_messages_stops_without_a_broker(
    apache_kafka: Kafka,
) -> None:
    topic = new_topic(apache_kafka.address)
    app = batch_app(apache_kafka.address, fresh("group"))
    keep_events(app, topic)
    async with running(app):
        producer = await app.maybe_start_producer()
        await (await producer.send(topic, None, b"arrives", None, None, None))
        apache_kafka.kill()
        await producer.send(topic, None, b"does not", None, None, None)
        began = time.monotonic()
    assert time.monotonic() - began < 20
