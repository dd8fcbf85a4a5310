"""Compares a worker's results with those of an engine and a linker that were not disturbed.

The engine reads the worker's topic of requests, the linker its topic of fingerprints, and both
keep their state in memory. Whatever happened to the worker, the records and offsets in its store,
its alerts and its fingerprints must be the same bytes. Campaigns depend on the order in which
fingerprints arrived in their topic.
"""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import redis
from kafka import KafkaConsumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from monitor.alerting.alerts import Alert
from monitor.alerting.decisions import Decision
from monitor.batch import Batch
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import from_settings
from monitor.linker import Linker, LinkPartition
from monitor.partition import Partition
from monitor.records.baseline import shipped_reference
from monitor.store.memory import MemoryStore
from monitor.store.redis import DECISION_KEY, PARTITION_KEY, RECORD_KEY, ROWS_KEY
from pipelines.simulation.scenario import Scenario, Simulation, messages
from pipelines.traffic.producer import Message, SendSchedule, send
from tests.support.programs import Worker

HOUR = Scenario(hours=1.0, keys=40)


class Account(NamedTuple):
    """The results of requests: stored values by Redis key, and the messages on each topic."""

    stored: dict[str, bytes | None]
    alerts: list[bytes]
    fingerprints: list[bytes]
    rejected: list[str]


class Links(NamedTuple):
    """The results of fingerprints: state and rows in the store, and campaign alerts."""

    state: bytes
    rows: dict[bytes, bytes | None]
    alerts: list[bytes]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str


def traffic(scenario: Scenario = HOUR) -> list[Message]:
    """Simulated requests without ids: one that is observed twice counts twice."""
    events = ({**event, "id": None} for event in Simulation(scenario).events())
    return [message for batch in messages(events) for message in batch]


def fill(worker: Worker, stream: Sequence[Message], rate: float | None = None) -> None:
    """Send messages to the partitions of their keys, at `rate` messages per second."""
    asyncio.run(
        send([stream], worker.settings.kafka, worker.requests, schedule=SendSchedule(rate=rate))
    )


@contextmanager
def filling(worker: Worker, stream: Sequence[Message], rate: float) -> Iterator[None]:
    """Send messages in the background; leaving waits until all are sent."""
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(fill, worker, stream, rate)
        yield
        sending.result()


def read(worker: Worker, topic: str) -> list[Any]:
    """Everything on a topic, by partition and offset."""
    consumer = KafkaConsumer(bootstrap_servers=worker.settings.kafka, enable_auto_commit=False)
    try:
        tps = [TopicPartition(topic, each) for each in consumer.partitions_for_topic(topic)]
        consumer.assign(tps)
        consumer.seek_to_beginning()
        ends, found = consumer.end_offsets(tps), []  # at least: Tansu leaves out the last batch
        while (more := consumer.poll(timeout_ms=500, max_records=10_000)) or any(
            consumer.position(tp) < ends[tp] for tp in tps
        ):
            found += [record for records in more.values() for record in records]
    finally:
        consumer.close()
    return sorted(found, key=lambda record: (record.partition, record.offset))


def undisturbed(worker: Worker) -> Account:
    """The results of an engine on the worker's stream, each partition in one batch."""
    settings = worker.settings
    engine = Engine(settings, from_settings(settings), MemoryStore())
    alerts, fingerprints, rejected = [], [], []
    stream = read(worker, worker.requests)
    for number, records in groupby(stream, lambda record: record.partition):
        name, batch = f"{worker.requests}:{number}", list(records)
        engine.assign(name)
        offsets, values = [r.offset for r in batch], [r.value for r in batch]
        arrivals = np.array([r.timestamp for r in batch]) / 1000
        outcome = engine.observe(Batch(name, offsets, values, arrivals))
        alerts += [msgspec.json.encode(alert) for alert in outcome.alerts]
        fingerprints += [said.value for said in outcome.fingerprints]
        rejected += [f"{name} {each.offset} {each.rejection.reason}" for each in outcome.rejected]
    first = engine.snapshot()
    engine.commit(first)
    engine.published(first)
    partitions = {**first.partitions, **engine.snapshot().partitions}
    decisions = {each.key: msgspec.json.encode(each) for each in first.decisions}
    stored: dict[str, bytes | None] = {
        **{RECORD_KEY + key: record for key, record in first.records.items()},
        **{PARTITION_KEY + name: state for name, state in partitions.items()},
        **{DECISION_KEY + key: decision for key, decision in decisions.items()},
    }
    return Account(stored, alerts, fingerprints, rejected)


def account(worker: Worker, expected: Account) -> Account:
    """The worker's results, once its checkpoints cover the whole stream."""
    states = {key: state for key, state in expected.stored.items() if key.startswith(PARTITION_KEY)}
    ends = [restored(state).offset for state in states.values()]
    with redis.from_url(worker.settings.redis_url) as store:

        def is_done() -> bool:
            reached = [restored(state) for state in store.mget(list(states))]
            return [each.offset for each in reached] == ends and not any(e.outbox for e in reached)

        until(is_done)
        values = zip(expected.stored, store.mget(list(expected.stored)), strict=True)
        found = {
            key: _without_end(value) if key.startswith(DECISION_KEY) else value
            for key, value in values
        }
    topics = worker.settings.topics
    return Account(
        found,
        _alerts(worker, "api_key"),
        [record.value for record in read(worker, topics.fingerprints)],
        [_place(record) for record in read(worker, topics.rejected)],
    )


def _without_end(decision: bytes | None) -> bytes | None:
    """A stored decision without its end, which depends on the time of the write."""
    return decision and msgspec.json.encode(msgspec.json.decode(decision, type=Decision))


def undisturbed_links(worker: Worker) -> Links:
    """The results of a linker on the fingerprints sent so far, in one batch."""
    linker = Linker(worker.settings, MemoryStore())
    topic = worker.settings.topics.fingerprints
    name, stream = f"{topic}:0", read(worker, topic)
    linker.assign(name)
    offsets, values = [r.offset for r in stream], [r.value for r in stream]
    outcome = linker.observe(Batch(name, offsets, values))
    first = linker.snapshot()
    linker.published(first)
    state = linker.snapshot().partitions.get(name, first.partitions[name])
    rows = {key.encode(): row for key, row in first.rows[name].items()}
    return Links(state, rows, [msgspec.json.encode(alert) for alert in outcome.alerts])


def links(worker: Worker, expected: Links) -> Links:
    """The results of the worker's linker, once its checkpoints cover all fingerprints."""
    name = f"{worker.settings.topics.fingerprints}:0"
    end = linked(expected.state).offset
    with redis.from_url(worker.settings.redis_url) as store:

        def is_done() -> bool:
            reached = linked(store.get(PARTITION_KEY + name))
            return reached.offset == end and not reached.outbox

        until(is_done)
        state, rows = store.get(PARTITION_KEY + name), store.hgetall(ROWS_KEY + name)
    return Links(state, rows, _alerts(worker, "campaign"))


def differences(worker: Worker) -> list[str]:
    """How a disturbed worker's results differ from those of an undisturbed engine and linker.

    Messages on topics may be repeated, because they are sent at least once. None may be missing,
    and none may be added.
    """
    expected = undisturbed(worker)
    found = account(worker, expected)
    on_topics = [{*each.alerts, *each.fingerprints, *each.rejected} for each in (expected, found)]
    should = undisturbed_links(worker)
    does = links(worker, should)
    return [
        *(f"{key} differs" for key in found.stored if found.stored[key] != expected.stored[key]),
        *(f"{each!r} is on one side only" for each in set.symmetric_difference(*on_topics)),
        *(
            f"row of {key!r} differs"
            for key in should.rows.keys() | does.rows.keys()
            if should.rows.get(key) != does.rows.get(key)
        ),
        *(["the linker's state differs"] if should.state != does.state else []),
        *(f"{each!r} is on one side only" for each in {*should.alerts} ^ {*does.alerts}),
    ]


def _alerts(worker: Worker, subject: str) -> list[bytes]:
    """Alerts on the worker's topic, of keys or of campaigns."""
    values = [record.value for record in read(worker, worker.settings.topics.alerts)]
    return [v for v in values if msgspec.json.decode(v, type=Alert).subject.type == subject]


def _place(record: Any) -> str:
    """Origin and reason of a rejected record."""
    said = {name: value.decode() for name, value in record.headers}
    return f"{said['topic']}:{said['partition']} {said['offset']} {said['reason']}"


def restored(state: bytes | None) -> Partition:
    """A partition as in its last checkpoint, without a claim."""
    partition = Partition("", 0, shipped_reference())
    if state is not None:
        partition.restore(state)
    return partition


def linked(state: bytes | None) -> LinkPartition:
    """A partition of fingerprints as in its last checkpoint, without its rows."""
    shard = LinkPartition("", 0, Settings())
    if state is not None:
        shard.restore(state)
    return shard


def beside(worker: Worker, folder: Path) -> Worker:
    """Another worker of the same group."""
    shared = {name: x for name, x in worker.environment.items() if name != "XM_WEB_PORT"}
    return Worker(folder, worker.settings.kafka, worker.settings.redis_url, **shared)


def ask(worker: Worker, page: str, **headers: str) -> Answer:
    """GET a page of the worker; header names with underscores for hyphens."""
    connection = http.client.HTTPConnection("127.0.0.1", worker.port, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", page, headers=named)
    response = connection.getresponse()
    answer = Answer(response.status, dict(response.headers), response.read().decode())
    connection.close()
    return answer


def metrics(worker: Worker) -> dict[str, float]:
    """The samples on the worker's page, by name and label values."""
    families = text_string_to_metric_families(ask(worker, "/metrics").text)
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in families
        for sample in family.samples
    }


def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not true after {seconds:g} s"
        time.sleep(0.05)
