"""The worker copies decisions and the audit to Kafka, as gateways and auditors read them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import redis
from kafka import KafkaConsumer, TopicPartition

from monitor.alerting.decisions import Decision
from monitor.store.base import Checkpoint
from monitor.store.control import ControlStore
from monitor.store.outbox import OUTBOX_KEY, TURN_SECONDS, Position, take_turn
from monitor.store.redis import RedisStore
from tests.support import servers
from tests.support.programs import Worker
from tests.support.workers import until

KEY, OTHER = "k_" + "1" * 24, "k_" + "2" * 24
BY = {"who": "ann", "why": "INC-7"}
BLOCK = Decision(KEY, "block", "a_1", 0.0, 600.0, kind="elicitation", rate=3.0)


class Reader:
    """Reads a topic of one partition from its start."""

    def __init__(self, kafka: str, topic: str) -> None:
        self._consumer = KafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
        partition = TopicPartition(topic, 0)
        self._consumer.assign([partition])
        self._consumer.seek(partition, 0)
        self.messages: list[tuple[str, Any]] = []

    def read(self) -> list[tuple[str, Any]]:
        """All messages so far: keys and decoded values."""
        for records in self._consumer.poll(timeout_ms=200).values():
            self.messages += [
                (each.key.decode(), json.loads(each.value) if each.value else None)
                for each in records
            ]
        return self.messages

    def state(self) -> dict[str, Any]:
        """What is left of the topic after compaction."""
        return {key: value for key, value in dict(self.read()).items() if value is not None}

    def close(self) -> None:
        self._consumer.close()


@pytest.fixture(scope="module")
def worker(
    tmp_path_factory: pytest.TempPathFactory, kafka: str, own_redis: servers.Redis
) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("worker")
    with Worker(folder, kafka, own_redis.url, XM_DECISIONS__SHADOW="false") as worker:
        yield worker


@pytest.fixture
def decisions(worker: Worker, kafka: str) -> Iterator[Reader]:
    reader = Reader(kafka, worker.settings.topics.decisions)
    yield reader
    reader.close()


@pytest.fixture
def audit(worker: Worker, kafka: str) -> Iterator[Reader]:
    reader = Reader(kafka, worker.settings.topics.audit)
    yield reader
    reader.close()


def test_worker_copies_what_applies(
    worker: Worker, own_redis: servers.Redis, decisions: Reader, audit: Reader
) -> None:
    store, control = RedisStore(own_redis.url, 100), ControlStore(own_redis.url)

    def action(subject: str = KEY) -> object:
        return decisions.state().get(subject, {}).get("decision")

    store.commit(Checkpoint(decisions=[BLOCK]))
    until(lambda: action() == "block")
    found = decisions.state()[KEY]
    assert (found["reason"], found["rate"]) == ("a_1", 3.0)
    assert time.time() < found["until"] <= time.time() + 600

    changes = [control.decide(OTHER, "throttle", 600.0, **BY, rate=5.0)]
    until(lambda: action(OTHER) == "throttle")
    changes.append(control.switch("kill", True, **BY))
    until(lambda: action() == action(OTHER) == "observe")
    assert decisions.state()[KEY]["shadow"] == "block"
    changes.append(control.switch("kill", None, **BY))
    until(lambda: action() == "block")
    changes.append(control.delete(KEY, **BY))
    until(lambda: KEY not in decisions.state())
    assert action(OTHER) == "throttle"

    until(lambda: len(audit.read()) >= len(changes))
    assert audit.read() == [(each.subject, msgspec.to_builtins(each)) for each in changes]


def test_decisions_are_sent_again_when_redis_has_lost_entries_of_the_feed(
    own_redis: servers.Redis, decisions: Reader
) -> None:
    store, lost = RedisStore(own_redis.url, 100), "k_" + "3" * 24
    store.commit(Checkpoint(decisions=[BLOCK]))
    until(lambda: KEY in decisions.state())
    with redis.from_url(own_redis.url) as client:  # as after a failover to a late replica
        client.delete("xm:feed")
        value = client.get(f"xm:d:{KEY}").replace(KEY.encode(), lost.encode())
        client.set(f"xm:d:{lost}", value)
    until(lambda: lost in decisions.state())


def test_another_worker_continues_where_a_killed_one_stopped(
    worker: Worker, own_redis: servers.Redis, audit: Reader
) -> None:
    control = ControlStore(own_redis.url)
    sent = len(list(control.audit()))
    until(lambda: len(audit.read()) >= sent)
    worker.kill()
    made = control.switch("caps", False, **BY)
    with redis.from_url(own_redis.url) as client:  # its turn would end by itself, later
        turn = json.loads(client.get(OUTBOX_KEY))
        client.set(OUTBOX_KEY, json.dumps(turn | {"until": 0.0}))
    worker.start()
    until(lambda: made.id in [value["id"] for _, value in audit.read()])
    ids = [value["id"] for _, value in audit.read()]
    assert [*dict.fromkeys(ids)] == [each.id for each in control.audit()]


def test_one_worker_at_a_time_has_a_turn(redis_url: str) -> None:
    store = ControlStore(redis_url)
    assert take_turn(store, "a") == Position()
    assert take_turn(store, "b") is None
    assert take_turn(store, "a", Position("1-0", "2-0")) == Position("1-0", "2-0")
    with redis.from_url(redis_url) as client:
        turn = json.loads(client.get(OUTBOX_KEY))
        assert 0 < turn["until"] - time.time() <= TURN_SECONDS
        client.set(OUTBOX_KEY, json.dumps(turn | {"until": time.time()}))
    assert take_turn(store, "b") == Position("1-0", "2-0")
    assert take_turn(store, "a") is None
