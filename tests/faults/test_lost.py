"""Redis or a topic is lost while workers run: it is said, and what Kafka still has is not lost."""

from __future__ import annotations

import http.client
import time
from pathlib import Path

import pytest
import redis
from kafka import KafkaAdminClient

from monitor.alerting.decisions import Decision
from monitor.identity import from_settings
from monitor.store.base import Checkpoint
from monitor.store.redis import RedisStore
from pipelines.kafka import topics
from pipelines.simulation.scenario import Scenario
from tests.support.programs import Worker
from tests.support.servers import Redis, Server, Tansu
from tests.support.workers import (
    committed,
    differences,
    expected_results,
    fill,
    get_page,
    metrics,
    traffic,
    until,
    why_not_ready,
    worker_results,
)

NOISE = 0.5  # seconds, of a busy machine
STREAM = traffic(Scenario(hours=0.5, keys=30))


def test_lost_redis_is_reported_and_read_again(
    own_kafka: Server, own_redis: Redis, tmp_path: Path
) -> None:
    with Worker(tmp_path / "worker", own_kafka.address, own_redis.url) as worker:
        half = len(STREAM) // 2
        fill(worker, STREAM[:half])
        worker_results(worker, expected_results(worker))
        until(lambda: committed(worker) == half)
        with redis.from_url(own_redis.url) as store:
            store.flushall()
        fill(worker, STREAM[half:])
        assert worker.process is not None
        worker.process.wait(60)
        assert "has lost its data" in worker.log.read_text()
        assert "claimed by another worker" not in worker.log.read_text()
        worker.start()
        assert differences(worker) == []
        assert "state_lost" in worker.log.read_text()
        lost = f"xm_state_losses_total {worker.requests}"
        until(lambda: metrics(worker).get(lost) == 1.0)


def test_missing_topic_is_reported_and_loses_nothing(
    own_kafka: Server, own_redis: Redis, tmp_path: Path
) -> None:
    if isinstance(own_kafka, Tansu):
        pytest.skip("Tansu makes a topic again when it is written to")
    with Worker(tmp_path / "worker", own_kafka.address, own_redis.url) as worker:
        missing = worker.settings.topics.fingerprints
        admin = KafkaAdminClient(bootstrap_servers=own_kafka.address)
        admin.delete_topics([missing])
        fill(worker, STREAM)
        until(lambda: missing in why_not_ready(worker))
        until(lambda: f"kafka_waits topics={missing}" in worker.log.read_text())
        topics.create(worker.settings)
        admin.close()
        until(lambda: get_page(worker, "/readyz").status == 200)
        expected = expected_results(worker)
        assert worker_results(worker, expected).stored == expected.stored
        assert "kafka_accepts" in worker.log.read_text()


def test_stopped_redis_delays_no_lookup(
    own_kafka: Server, own_redis: Redis, tmp_path: Path
) -> None:
    enforce = {"XM_DECISIONS__SHADOW": "false"}
    with Worker(tmp_path / "worker", own_kafka.address, own_redis.url, **enforce) as worker:
        key = from_settings(worker.settings).key("sk-blocked")
        block = Decision(key, "block", "a_1", time.time(), 60.0)
        RedisStore(own_redis.url, 100).commit(Checkpoint(decisions=[block]))
        until(lambda: ask(worker, "sk-blocked")[0] == 403)
        own_redis.pause()
        try:
            answers = [ask(worker, key) for n in range(30) for key in ("sk-blocked", f"sk-{n}")]
        finally:
            own_redis.resume()
        assert [status for status, _ in answers] == [403, 200] * 30
        seconds = sorted(each for _, each in answers)
        assert seconds[len(seconds) // 2] < NOISE
        until(lambda: get_page(worker, "/readyz").status == 200)
        until(lambda: "unknown" not in get_page(worker, "/v1/decision", X_API_Key="sk-1").text)


def ask(worker: Worker, key: str) -> tuple[int, float]:
    """Status and duration of a lookup, seconds."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", worker.port, timeout=10)
    connection.request("GET", "/v1/decision", headers={"Authorization": f"Bearer {key}"})
    status = connection.getresponse().status
    connection.close()
    return status, time.monotonic() - begun
