"""Workers, stores and brokers that pause or die in mid-stream: nothing lost, nothing twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
import redis

from monitor.batch import KeyFingerprint
from monitor.linker import Linker, LinkPartition
from monitor.store.memory import MemoryStore
from monitor.store.redis import PARTITION
from pipelines.simulation.scenario import Scenario
from pipelines.traffic import replay
from pipelines.traffic.producer import Message
from tests.faults.soak import DISTURBANCES, Disturbance, disturbed, restart_broker
from tests.support.programs import Worker
from tests.support.servers import Redis, Server, Tansu
from tests.support.workers import (
    beside,
    differences,
    fill,
    filling,
    linked,
    links,
    metrics,
    read,
    restored,
    traffic,
    undisturbed,
    undisturbed_links,
    until,
)


@pytest.fixture(scope="module")
def stream() -> list[Message]:
    """An hour of requests, and between them some that cannot be used."""
    messages = traffic()
    for at in range(0, len(messages), 20):
        messages.insert(at, Message(None, b"no JSON"))
    return messages


@pytest.mark.parametrize("disturbance", DISTURBANCES, ids=lambda each: each.name)
def test_a_disturbance_in_mid_stream_changes_no_byte_and_no_alert(
    own_kafka: Server, own_redis: Redis, tmp_path: Path, disturbance: Disturbance
) -> None:
    if disturbance.act is restart_broker and isinstance(own_kafka, Tansu):
        pytest.skip("Tansu keeps nothing from one start to the next")
    found = disturbed(own_kafka, own_redis, tmp_path, disturbance.act, disturbance.seldom)
    assert found.requests > 1_000
    assert found.alerts > 0
    assert found.faults == []


def test_a_worker_killed_again_and_again_while_a_campaign_forms_comes_to_the_same_campaign(
    own_kafka: Server, own_redis: Redis, tmp_path: Path
) -> None:
    worker = Worker(tmp_path / "worker", own_kafka.address, own_redis.url)
    state = f"{PARTITION}{worker.settings.topics.fingerprints}:0"
    store = redis.from_url(own_redis.url)
    moments: list[Callable[[LinkPartition], object]] = [
        lambda shard: shard.offset,
        lambda shard: shard.rounds.campaigns,
        lambda shard: any(campaign.opened for campaign in shard.rounds.campaigns),
    ]
    with worker:
        with filling(worker, traffic(Scenario(hours=1.0, keys=100)), rate=1_500.0):
            for has_come in moments:
                until(lambda come=has_come: come(linked(store.get(state))))
                worker.kill()
                worker.start()
        assert differences(worker) == []
        by_engine = [KeyFingerprint("", value) for value in undisturbed(worker).fingerprints]
        should = replay.link(Linker(worker.settings, MemoryStore()), by_engine).alerts
        does = links(worker, undisturbed_links(worker)).alerts
    assert should
    assert {*does} == {msgspec.json.encode(alert) for alert in should}


def test_a_worker_that_was_out_while_another_took_over_writes_nothing_more(
    own_kafka: Server, own_redis: Redis, tmp_path: Path, stream: list[Message]
) -> None:
    chosen = {"XM_CHECKPOINT_SECONDS": "0.5"}
    out = Worker(tmp_path / "out", own_kafka.address, own_redis.url, **chosen)
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
