"""Workers, stores and brokers that pause or die in mid-stream: nothing lost, nothing twice."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from monitor.store.redis import PARTITION
from pipelines.producer import Message
from tests.programs import Worker
from tests.servers import Kafka, Redis, Server
from tests.workers import (
    ask,
    beside,
    differences,
    fill,
    filling,
    metrics,
    read,
    restored,
    traffic,
    until,
)


@pytest.fixture(scope="module")
def stream() -> list[Message]:
    """An hour of requests, and between them some that cannot be used."""
    messages = traffic()
    for at in range(0, len(messages), 20):
        messages.insert(at, Message(None, b"no JSON"))
    return messages


def test_a_worker_killed_at_random_moments_loses_nothing_and_counts_nothing_twice(
    kafka: str, redis_url: str, tmp_path: Path, stream: list[Message]
) -> None:
    dice = random.Random(2)
    worker = Worker(tmp_path / "worker", kafka, redis_url, XM_TOPICS__PARTITIONS="2")
    with worker:
        with filling(worker, stream, rate=700.0):
            for _ in range(3):
                time.sleep(dice.uniform(0.0, 1.5))
                worker.kill()
                worker.start()
        assert differences(worker) == []


def test_a_worker_that_was_out_while_another_took_over_writes_nothing_more(
    kafka: str, redis_url: str, tmp_path: Path, stream: list[Message]
) -> None:
    out = Worker(tmp_path / "out", kafka, redis_url, XM_CHECKPOINT_SECONDS="0.5")
    heir = beside(out, tmp_path / "heir")
    with out, ExitStack() as running:
        with filling(out, stream, rate=1_500.0):
            time.sleep(1.3)
            out.pause()
            running.enter_context(heir)
            until(lambda: metrics(heir)["xm_events_total"] > 0)
            out.resume()
        assert differences(heir) == []


def test_alerts_that_were_stored_and_not_sent_when_the_worker_was_killed_are_sent_by_its_heir(
    own_kafka: Server, own_redis: Redis, tmp_path: Path, stream: list[Message]
) -> None:
    worker = Worker(tmp_path / "worker", own_kafka.address, own_redis.url)
    store = redis.from_url(own_redis.url)
    with worker:
        store.client_pause(60_000, all=False)  # it answers, but takes no checkpoint
        fill(worker, stream)
        good = sum(message.key is not None for message in stream)
        until(lambda: metrics(worker)["xm_events_total"] == good)
        own_kafka.pause()
        store.client_unpause()
        until(lambda: restored(store.get(f"{PARTITION}{worker.requests}:0")).outbox)
        worker.kill()
        own_kafka.resume()
        assert read(worker, worker.settings.topics.alerts) == []
        worker.start()
        assert differences(worker) == []


def test_a_store_killed_or_paused_in_mid_stream_costs_nothing(
    kafka: str, own_redis: Redis, tmp_path: Path, stream: list[Message]
) -> None:
    worker = Worker(tmp_path / "worker", kafka, own_redis.url)
    with worker:
        with filling(worker, stream, rate=900.0):
            time.sleep(1.3)
            own_redis.kill()
            until(lambda: ask(worker, "/readyz").status == 503)
            own_redis.start()
            until(lambda: ask(worker, "/readyz").status == 200)
            time.sleep(0.7)
            own_redis.pause()
            time.sleep(10)
            own_redis.resume()
        assert differences(worker) == []


def test_a_broker_killed_in_mid_stream_costs_nothing(
    apache_kafka: Kafka, redis_url: str, tmp_path: Path, stream: list[Message]
) -> None:
    worker = Worker(tmp_path / "worker", apache_kafka.address, redis_url)
    with worker:
        with filling(worker, stream, rate=1_500.0):
            time.sleep(2.4)
            apache_kafka.kill()
            apache_kafka.start()
        assert differences(worker) == []
