"""Compares a worker's results with those of an undisturbed engine and linker.

The engine reads the worker's topic of requests, the linker its topic of fingerprints, and both
keep their state in memory. Whatever happens to the worker, the records and offsets in its store,
its alerts and its fingerprints must be the same bytes. Campaigns depend on the order in which
fingerprints arrived in their topic.
"""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
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
from monitor.campaigns.fingerprint import split
from monitor.campaigns.order.progress import is_progress
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


class Results(NamedTuple):
    """The results of requests: stored values by Redis key, and the messages on each topic."""

    stored: dict[str, bytes | None]
    alerts: list[bytes]
    fingerprints: list[bytes]
    rejected: list[str]


class LinkerResults(NamedTuple):
    """The results of fingerprints: state and rows in the store, and campaign alerts.

    Attributes:
        observed: the offset up to which they are the results.
    """

    state: bytes
    rows: dict[bytes, bytes | None]
    alerts: list[bytes]
    observed: int


class Page(NamedTuple):
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


def read_topic(worker: Worker, topic: str) -> list[Any]:
    """Everything on a topic, by partition and offset."""
    consumer = KafkaConsumer(
        bootstrap_servers=worker.settings.kafka, enable_auto_commit=False, fetch_max_wait_ms=50
    )
    try:
        tps = [TopicPartition(topic, each) for each in consumer.partitions_for_topic(topic)]
        consumer.assign(tps)
        consumer.seek_to_beginning()
        ends, found = consumer.end_offsets(tps), []  # at least: Tansu leaves out the last batch
        while (more := consumer.poll(timeout_ms=200, max_records=10_000)) or any(
            consumer.position(tp) < ends[tp] for tp in tps
        ):
            found += [record for records in more.values() for record in records]
    finally:
        consumer.close()
    return sorted(found, key=lambda record: (record.partition, record.offset))


def expected_results(worker: Worker) -> Results:
    """The results of an undisturbed engine on the worker's stream, each partition in one batch."""
    settings = worker.settings
    engine = Engine(settings, from_settings(settings), MemoryStore())
    alerts, fingerprints, rejected = [], [], []
    stream = read_topic(worker, worker.requests)
    for number, records in groupby(stream, lambda record: record.partition):
        name, batch = f"{worker.requests}:{number}", list(records)
        engine.assign(name)
        offsets, values = [r.offset for r in batch], [r.value for r in batch]
        arrivals = np.array([r.timestamp for r in batch]) / 1000
        outcome = engine.observe(Batch(name, offsets, values, arrivals))
        alerts += [msgspec.json.encode(alert) for alert in outcome.alerts]
        fingerprints += [each.value for each in outcome.fingerprints]
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
    return Results(stored, alerts, fingerprints, rejected)


def worker_results(worker: Worker, expected: Results) -> Results:
    """The worker's results, once its checkpoints cover the whole stream."""
    states = {key: state for key, state in expected.stored.items() if key.startswith(PARTITION_KEY)}
    ends = [load_partition(state).offset for state in states.values()]
    with redis.from_url(worker.settings.redis_url) as store:

        def is_done() -> bool:
            reached = [load_partition(state) for state in store.mget(list(states))]
            return [each.offset for each in reached] == ends and not any(e.outbox for e in reached)

        until(is_done)
        values = zip(expected.stored, store.mget(list(expected.stored)), strict=True)
        found = {
            key: _without_end(value) if key.startswith(DECISION_KEY) else value
            for key, value in values
        }
    topics = worker.settings.topics
    return Results(
        found,
        _alerts(worker, campaigns=False),
        [each for r in fingerprint_messages(worker) for each in split(r.value)],
        [_place(record) for record in read_topic(worker, topics.rejected)],
    )


def _without_end(decision: bytes | None) -> bytes | None:
    """A stored decision without its end, which depends on the time of the write."""
    return decision and msgspec.json.encode(msgspec.json.decode(decision, type=Decision))


def fingerprint_messages(worker: Worker) -> list[Any]:
    """The messages of fingerprints on their topic, without those of progress."""
    found = read_topic(worker, worker.settings.topics.fingerprints)
    return [record for record in found if not is_progress(record.value)]


def expected_linker_results(worker: Worker, observed: int) -> LinkerResults:
    """The results of an undisturbed linker on the messages before an offset, in one batch."""
    linker = Linker(worker.settings, MemoryStore())
    topic = worker.settings.topics.fingerprints
    name = f"{topic}:0"
    stream = [record for record in read_topic(worker, topic) if record.offset < observed]
    linker.assign(name)
    offsets, values = [r.offset for r in stream], [r.value for r in stream]
    outcome = linker.observe(Batch(name, offsets, values))
    first = linker.snapshot()
    linker.published(first)
    state = linker.snapshot().partitions.get(name, first.partitions[name])
    rows = {key.encode(): row for key, row in first.rows[name].items()}
    alerts = [msgspec.json.encode(alert) for alert in outcome.alerts]
    return LinkerResults(state, rows, alerts, observed)


def linker_results(worker: Worker) -> LinkerResults:
    """The results of the worker's linker, once it has all fingerprints and no round is due."""
    name = f"{worker.settings.topics.fingerprints}:0"
    last = fingerprint_messages(worker)[-1].offset
    ends = {f"{r.topic}:{r.partition}": r.offset + 1 for r in read_topic(worker, worker.requests)}
    with redis.from_url(worker.settings.redis_url) as store:

        def is_done() -> bool:
            reached = load_link_partition(store.get(PARTITION_KEY + name))
            sources = reached.progress.snapshot().sources
            return (
                reached.observed > last
                and not reached.outbox
                and all(name in sources and sources[name].offset >= ends[name] for name in ends)
                and sorted(sources[name].passed for name in ends)[len(ends) // 2]
                < reached.next_round
            )

        until(is_done)
        pipe = store.pipeline()
        state, rows = pipe.get(PARTITION_KEY + name).hgetall(ROWS_KEY + name).execute()
    observed = load_link_partition(state).observed
    return LinkerResults(state, rows, _alerts(worker, campaigns=True), observed)


def differences(worker: Worker) -> list[str]:
    """How a disturbed worker's results differ from those of an undisturbed engine and linker.

    Messages on topics may be repeated, because they are sent at least once. None may be missing,
    and none may be added.
    """
    expected = expected_results(worker)
    found = worker_results(worker, expected)
    on_topics = [{*each.alerts, *each.fingerprints, *each.rejected} for each in (expected, found)]
    found_links = linker_results(worker)
    expected_links = expected_linker_results(worker, found_links.observed)
    return [
        *(f"{key} differs" for key in found.stored if found.stored[key] != expected.stored[key]),
        *(f"{each!r} is on one side only" for each in set.symmetric_difference(*on_topics)),
        *(
            f"row of {key!r} differs"
            for key in expected_links.rows.keys() | found_links.rows.keys()
            if expected_links.rows.get(key) != found_links.rows.get(key)
        ),
        *(["the linker's state differs"] if expected_links.state != found_links.state else []),
        *(
            f"{each!r} is on one side only"
            for each in {*expected_links.alerts} ^ {*found_links.alerts}
        ),
    ]


def _alerts(worker: Worker, *, campaigns: bool) -> list[bytes]:
    """Alerts on the worker's topic, those of campaigns or all others."""
    values = [record.value for record in read_topic(worker, worker.settings.topics.alerts)]
    types = [msgspec.json.decode(value, type=Alert).subject.type for value in values]
    return [v for v, of in zip(values, types, strict=True) if (of == "campaign") == campaigns]


def _place(record: Any) -> str:
    """Origin and reason of a rejected record."""
    headers = {name: value.decode() for name, value in record.headers}
    return "{topic}:{partition} {offset} {reason}".format(**headers)


def load_partition(state: bytes | None) -> Partition:
    """A partition as in its last checkpoint, without a claim."""
    partition = Partition("", 0, shipped_reference())
    if state is not None:
        partition.restore(state)
    return partition


def load_link_partition(state: bytes | None) -> LinkPartition:
    """A partition of fingerprints as in its last checkpoint, without its rows."""
    shard = LinkPartition("", 0, Settings())
    if state is not None:
        shard.restore(state)
    return shard


def another_worker(worker: Worker, folder: Path) -> Worker:
    """Another worker of the same group."""
    shared = {name: x for name, x in worker.environment.items() if name != "XM_WEB_PORT"}
    kafka, url = worker.settings.kafka, worker.settings.redis_url
    return Worker(folder, kafka, url, options=worker.options, **shared)


def get_page(worker: Worker, page: str, **headers: str) -> Page:
    """GET a page of the worker; header names with underscores for hyphens."""
    connection = http.client.HTTPConnection("127.0.0.1", worker.port, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", page, headers=named)
    response = connection.getresponse()
    answer = Page(response.status, dict(response.headers), response.read().decode())
    connection.close()
    return answer


def why_not_ready(worker: Worker) -> str:
    """What `/readyz` says is wrong, empty if nothing is."""
    page = get_page(worker, "/readyz")
    return page.text if page.status == 503 else ""


def metrics(worker: Worker) -> dict[str, float]:
    """The samples on the worker's page, by name and label values."""
    families = text_string_to_metric_families(get_page(worker, "/metrics").text)
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in families
        for sample in family.samples
    }


def requests_read(worker: Worker) -> float:
    """Valid requests that the worker has read: those it evaluated, and those that were refused."""
    return sum(
        n
        for name, n in metrics(worker).items()
        if name.startswith(("xm_events_total", "xm_refused_requests_total"))
    )


def committed(worker: Worker) -> int:
    """The offset that Kafka has of the worker's one partition."""
    settings = worker.settings
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka, group_id=settings.group)
    with closing(consumer):
        return consumer.committed(TopicPartition(worker.requests, 0)) or 0


def until(condition: Callable[[], object], seconds: float = 120.0, what: str = "") -> None:
    """Wait until a condition is true; fail after `seconds`, and name `what` did not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not true after {seconds:g} s {what}".rstrip()
        time.sleep(0.05)
