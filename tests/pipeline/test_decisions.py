"""Decisions of a worker that is behind end when they would have ended without the delay."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from kafka import KafkaProducer

from monitor.identity import from_settings
from monitor.records.profile import HOUR
from monitor.store.redis import RedisStore
from tests.support import traffic
from tests.support.programs import Worker
from tests.support.stores import decision_in
from tests.support.workers import until


def test_delayed_worker_shortens_its_decisions(kafka: str, redis_url: str, tmp_path: Path) -> None:
    with Worker(tmp_path / "worker", kafka, redis_url) as worker:
        arrived = time.time() - 3 * HOUR
        producer = KafkaProducer(bootstrap_servers=kafka)
        for minute in range(5, 0, -1):
            for value in traffic.minute(arrived - 60 * minute):
                producer.send(worker.requests, value, timestamp_ms=int(1000 * arrived))
        producer.flush()
        producer.close()
        store = RedisStore(redis_url, 100)
        key = from_settings(worker.settings).key(traffic.EXTRACTING)
        until(lambda: (found := decision_in(store, key)) and found.action == "block")
        block = decision_in(store, key)
        assert block
        assert block.seconds == 4 * HOUR
        assert block.until == pytest.approx(arrived + block.duration, abs=1)
