"""Another worker, or the same one again, takes over in mid-stream: nothing is lost or changed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
import redis

from monitor.batch import KeyFingerprint
from monitor.identity import from_settings
from monitor.linker import Linker, LinkPartition
from monitor.store.memory import MemoryStore
from monitor.store.redis import PARTITION_KEY
from pipelines.cases.collect import Collector
from pipelines.cases.reproduction.reproduce import reproduce
from pipelines.kafka.offsets import Offsets
from pipelines.simulation.scenario import Scenario
from pipelines.traffic import replay
from pipelines.traffic.producer import Message
from tests.support.programs import Worker
from tests.support.proxy import Proxy
from tests.support.servers import Redis, Server, Tansu
from tests.support.workers import (
    another_worker,
    differences,
    expected_results,
    fill,
    filling,
    linker_results,
    load_link_partition,
    load_partition,
    metrics,
    read_topic,
    traffic,
    until,
)


@pytest.fixture(scope="module")
def stream() -> list[Message]:
    """An hour of requests, with one message in twenty that cannot be decoded."""
    messages = traffic()
    for at in range(0, len(messages), 20):
        messages.insert(at, Message(None, b"no JSON"))
    return messages


def test_killed_linker_finds_the_same_campaign(
    own_kafka: Server, own_redis: Redis, tmp_path: Path
) -> None:
    worker = Worker(tmp_path / "worker", own_kafka.address, own_redis.url)
    settings = worker.settings
    collector = Collector(settings, offsets=Offsets(settings, 60.0))
    state = f"{PARTITION_KEY}{settings.topics.fingerprints}:0"
    store = redis.from_url(own_redis.url)
    moments: list[Callable[[LinkPartition], object]] = [
        lambda shard: shard.offset,
        lambda shard: shard.rounds.campaigns,
        lambda shard: any(campaign.opened for campaign in shard.rounds.campaigns),
    ]
    with worker:
        with filling(worker, traffic(Scenario(hours=1.0, keys=100)), rate=1_500.0):
            for reached in moments:
                until(lambda reached=reached: reached(load_link_partition(store.get(state))))
                campaigns = load_link_partition(store.get(state)).rounds.campaigns
                opened = [campaign.id for campaign in campaigns if campaign.opened]
                facts = [collector.collect(campaign, quick=True) for campaign in opened[:1]]
                worker.kill()
                worker.start()
        assert differences(worker) == []
        rows = reproduce(facts[0], settings, from_settings(settings)).comparison.rows
        if isinstance(own_kafka, Tansu):  # names the end of a partition one batch too low
            rows = [row for row in rows if row.group != "fingerprints"]
        assert [row for row in rows if row.result != "same"] == []
        by_engine = [KeyFingerprint("", value) for value in expected_results(worker).fingerprints]
        expected = replay.link(Linker(settings, MemoryStore()), by_engine).alerts
        found = linker_results(worker).alerts
    assert expected
    assert {*found} == {msgspec.json.encode(alert) for alert in expected}


def test_worker_killed_between_writes_of_records_loses_nothing(
    own_kafka: Server, own_redis: Redis, tmp_path: Path
) -> None:
    few = {"XM_ROWS": "10000"}  # more than 50 changed records wait
    worker = Worker(tmp_path / "worker", own_kafka.address, own_redis.url, **few)
    alerts = worker.settings.topics.alerts
    with worker:
        with filling(worker, traffic(Scenario(hours=0.5, keys=2_000)), rate=1_400.0):
            until(lambda: metrics(worker)["xm_early_checkpoints_total"] > 1)
            until(lambda: read_topic(worker, alerts))
            worker.kill()
            worker.start()
        assert differences(worker) == []


def test_paused_worker_writes_nothing_after_a_takeover(
    own_kafka: Server, own_redis: Redis, tmp_path: Path, stream: list[Message]
) -> None:
    chosen = {"XM_CHECKPOINT_SECONDS": "0.5"}
    paused = Worker(tmp_path / "paused", own_kafka.address, own_redis.url, **chosen)
    successor = another_worker(paused, tmp_path / "successor")
    with paused, ExitStack() as running:
        with filling(paused, stream, rate=1_500.0):
            until(lambda: metrics(paused)["xm_checkpoint_records_total"] > 0)
            paused.pause()
            running.enter_context(successor)
            until(lambda: metrics(successor)["xm_events_total"] > 0)
            paused.resume()
        assert differences(successor) == []


def test_successor_sends_checkpointed_unsent_alerts(
    own_kafka: Server, own_redis: Redis, tmp_path: Path, stream: list[Message]
) -> None:
    # Redis takes the first checkpoint with alerts in it, but the worker does not learn of it.
    with Proxy(own_redis.port, marker=b"detected_at") as proxy:
        worker = Worker(tmp_path / "worker", own_kafka.address, f"redis://127.0.0.1:{proxy.port}/0")
        with worker:
            fill(worker, stream)
            store = redis.from_url(own_redis.url)
            until(lambda: load_partition(store.get(f"{PARTITION_KEY}{worker.requests}:0")).outbox)
            worker.kill()
            assert read_topic(worker, worker.settings.topics.alerts) == []
            proxy.marker = b""
            worker.start()
            assert differences(worker) == []
