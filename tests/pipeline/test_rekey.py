"""`xm worker --rekey`: requests without a message key, spread over partitions."""

from __future__ import annotations

from pathlib import Path

import redis

from monitor.identity import from_settings
from monitor.records.migrations import read
from monitor.store.redis import RECORD_KEY
from pipelines.traffic.producer import Message
from tests.support.programs import Worker
from tests.support.requests import request
from tests.support.workers import fill, metrics, read_topic, until

KEYS, REQUESTS = 12, 20


def stream() -> list[Message]:
    """Single requests and arrays of several keys' requests, none with a message key."""
    requests = [
        request(f"sk-{n % KEYS}", float(n), f"Question {n}?", id=f"r{n}", account=f"acct-{n % 3}")
        for n in range(KEYS * REQUESTS)
    ]
    half = len(requests) // 2
    arrays = [b"[" + b",".join(requests[n : n + 7]) + b"]" for n in range(0, half, 7)]
    return [Message(None, value) for value in [*arrays, *requests[(len(arrays) * 7) :], b"nothing"]]


def test_rekeyed_requests_of_a_key_are_in_one_record(
    kafka: str, redis_url: str, tmp_path: Path
) -> None:
    worker = Worker(tmp_path, kafka, redis_url, rekey=True, XM_TOPICS__PARTITIONS="4")
    with worker:
        fill(worker, stream())
        until(lambda: metrics(worker)["xm_events_total"] == KEYS * REQUESTS)
        until(lambda: metrics(worker)["xm_rejections_total not_json"] == 1)
        until(lambda: metrics(worker)["xm_checkpoint_records_total"] >= KEYS)
        copies = read_topic(worker, worker.settings.topics.keyed)
    by_account = [copy.key for copy in copies if copy.key]
    assert set(by_account) == {b"acct-0", b"acct-1", b"acct-2"}
    assert len(by_account) == KEYS * REQUESTS
    assert len({(copy.key, copy.partition) for copy in copies if copy.key}) == 3
    identity = from_settings(worker.settings)
    with redis.from_url(redis_url) as client:
        records = [client.get(RECORD_KEY + identity.key(f"sk-{n}")) for n in range(KEYS)]
    counts = [int(read(record)["requests"]) for record in records]
    assert counts == [REQUESTS] * KEYS


def test_worker_warns_of_messages_without_a_key(kafka: str, redis_url: str, tmp_path: Path) -> None:
    with Worker(tmp_path, kafka, redis_url, XM_TOPICS__PARTITIONS="2") as worker:
        fill(worker, [Message(None, request(f"sk-{n}")) for n in range(10)])
        until(lambda: metrics(worker)["xm_events_total"] == 10)
        assert metrics(worker)[f"xm_unkeyed_messages_total {worker.requests}"] == 10
        assert "messages_without_key" in worker.log.read_text()
