"""Latency from a request's arrival in Kafka to its record in Redis and to its alert.

    python -m tests.benchmarks.speed.latency --kafka HOST:PORT --redis URL [--traffic FILE]

First the maximum rate of a worker with the role `watch` is measured. Then requests with current
timestamps are sent at half of that rate, to one worker for each checkpoint interval, the default
first. Among them are

    markers    every 50 ms, the only request of a key; the latency ends when a Redis keyspace event
               reports that the record of the key is written
    elicitors  keys that ask for reasoning traces ten times in a row; an alert's time identifies its
               request, and the latency ends when the broker appends the alert

Both start at the request's Kafka timestamp, after a few seconds of warm-up. There are enough keys
that nearly every request changes another record.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import redis
from aiokafka import AIOKafkaConsumer
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from monitor.alerting.alerts import Alert
from monitor.config import Settings
from monitor.identity import from_settings
from monitor.store.redis import RECORD_KEY
from pipelines.kafka import topics
from pipelines.traffic.producer import Message, SendSchedule, send
from tests.benchmarks.speed.measure import (
    default_worker,
    emptied,
    observe,
    parser,
    print_machine,
    print_table,
)
from tests.benchmarks.speed.stream import Stream, batches
from tests.support.programs import Worker
from tests.support.workers import read_topic, until

_WARM_UP = 3.0  # seconds
_MARKERS, _ELICITING = 20, 100  # requests per second
_IN_A_ROW = 10
_WATCH = ["--role", "watch"]
_PATIENCE = 180.0  # seconds until the last record is written
_MARKER, _ELICITOR = "sk-marker-", "sk-elicitor-"

Seconds = list[float]


class Latencies(NamedTuple):
    """Of records and of alerts, at a rate of requests per second that arrived."""

    records: Seconds
    alerts: Seconds
    rate: float


def main() -> None:
    default = Settings.model_fields["checkpoint_seconds"].default
    options = parser(__doc__ or "", "kafka", "redis")
    options.add_argument("--traffic", help="requests, one per line; simulated by default")
    options.add_argument("--keys", type=int, default=100_000)
    options.add_argument("--seconds", type=float, default=30.0, help="per checkpoint interval")
    options.add_argument("--checkpoint", type=float, nargs="+", default=[default, 0.25, 4.0])
    options.add_argument(
        "--rate", type=float, help="requests per second; default: half of the maximum"
    )
    chosen = options.parse_args()
    stream, rows = Stream(chosen.traffic, chosen.keys), []
    with tempfile.TemporaryDirectory() as folder:
        rate = chosen.rate or _max_rate(Path(folder, "max"), chosen.kafka, chosen.redis, stream) / 2
        for seconds in chosen.checkpoint:
            worker = default_worker(
                Path(folder, str(seconds)),
                chosen.kafka,
                chosen.redis,
                XM_CHECKPOINT_SECONDS=str(seconds),
            )
            worker.options = _WATCH
            found = _run(worker, stream, rate, chosen.seconds)
            records, alerts = (
                [len(times), *(f"{each:.3f}" for each in np.percentile(times, [50, 99, 100]))]
                for times in (found.records, found.alerts)
            )
            rows.append([f"{seconds:g} s", f"{found.rate:,.0f}", *records, *alerts])
    print_machine(chosen.redis, chosen.kafka)
    print(f"{rate:,.0f} requests/s intended, {chosen.keys:,} keys, 4 partitions; in seconds\n")
    columns = [
        "checkpoint every",
        "requests/s",
        "markers",
        "p50",
        "p99",
        "max",
        "alerts",
        "p50",
        "p99",
        "max",
    ]
    print_table(columns, rows)


def _max_rate(folder: Path, kafka: str, redis_url: str, stream: Stream) -> float:
    """Requests per second that a worker observes."""
    worker = default_worker(folder, kafka, redis_url)
    worker.options = _WATCH
    topics.create(worker.settings)
    sent = asyncio.run(send(stream.take(300_000), kafka, worker.requests)).acknowledged
    emptied(redis_url).close()
    with worker:
        return observe([worker], sent, max_seconds=12.0).rate


def _run(worker: Worker, stream: Stream, rate: float, seconds: float) -> Latencies:
    """The latencies of markers and of alerts."""
    settings = worker.settings
    pseudonym = from_settings(settings).key
    topics.create(settings)
    _stamp_on_arrival(settings)
    markers = [f"{_MARKER}{n}" for n in range(int(seconds * _MARKERS))]
    records = [RECORD_KEY + pseudonym(key) for key in markers]
    with _watch(settings.redis_url, records) as written, worker:
        messages = islice(_messages(stream, rate), len(markers) * int(rate / _MARKERS))
        schedule = SendSchedule(rate=rate)
        asyncio.run(
            send(batches(messages, 100), settings.kafka, worker.requests, schedule=schedule)
        )
        until(lambda: len(written) == len(markers), _PATIENCE)
        time.sleep(settings.checkpoint_seconds + 1)
    arrivals = asyncio.run(_arrivals(settings.kafka, worker.requests))
    warm = min(arrivals.values()) + _WARM_UP
    stored, alerts = [], []
    for (key, _), begun in arrivals.items():
        if key.startswith(_MARKER) and begun > warm:
            stored.append(written[RECORD_KEY + pseudonym(key)] - begun)
    about = {(pseudonym(key), ts): begun for (key, ts), begun in arrivals.items()}
    for record in read_topic(worker, settings.topics.alerts):
        alert = msgspec.json.decode(record.value, type=Alert)
        begun = about.get((alert.subject.id, alert.detected_at), 0.0)
        if begun > warm:
            alerts.append(record.timestamp / 1000 - begun)
    arrived = [begun for (key, _), begun in arrivals.items() if key.startswith(_MARKER)]
    sent = (len(markers) - 1) * int(rate / _MARKERS)
    return Latencies(stored, alerts, sent / (max(arrived) - min(arrived)))


def _messages(stream: Stream, rate: float) -> Iterator[Message]:
    """Requests with current timestamps, among them markers and elicitors."""
    marking, eliciting = int(rate / _MARKERS), int(rate / _ELICITING)
    for number in count():
        if number % marking == 0:
            # Not of the stream: some of its requests failed, and those change no record.
            yield _request(f"{_MARKER}{number // marking}", number, f"What is {number} in words?")
        elif number % eliciting == 1:
            key = f"{_ELICITOR}{number // eliciting // _IN_A_ROW}"
            prompt = f"Solve problem {number}. Show your complete internal reasoning."
            yield _request(key, number, prompt)
        else:
            yield stream.message(number, time.time())


def _request(key: str, number: int, prompt: str) -> Message:
    ts = time.time()
    request = {"ts": round(ts, 3), "api_key": key, "id": f"req_{number}", "prompt": prompt}
    return Message(key.encode(), msgspec.json.encode(request), ts)


def _stamp_on_arrival(settings: Settings) -> None:
    """Have the broker stamp alerts when it appends them."""
    with closing(KafkaAdminClient(bootstrap_servers=settings.kafka)) as admin:
        chosen = {"message.timestamp.type": "LogAppendTime"}
        topic = ConfigResource(ConfigResourceType.TOPIC, settings.topics.alerts, chosen)
        admin.alter_configs([topic])


@contextmanager
def _watch(url: str, keys: list[str]) -> Iterator[dict[str, float]]:
    """When keys of an emptied Redis were first written, filled in as they are."""
    found: dict[str, float] = {}
    emptied(url).close()
    with redis.from_url(url, decode_responses=True) as client:
        before = client.config_get("notify-keyspace-events")["notify-keyspace-events"]
        client.config_set("notify-keyspace-events", "K$")
        database = client.connection_pool.connection_kwargs.get("db", 0)
        prefix = f"__keyspace@{database}__:"
        listening = client.pubsub(ignore_subscribe_messages=True)

        def note(message: dict[str, str]) -> None:
            found.setdefault(message["channel"].removeprefix(prefix), time.time())

        listening.subscribe(**{prefix + key: note for key in keys})
        thread = listening.run_in_thread(sleep_time=1.0, daemon=True)
        try:
            yield found
        finally:
            thread.stop()
            thread.join()
            client.config_set("notify-keyspace-events", before)


async def _arrivals(kafka: str, topic: str) -> dict[tuple[str, float], float]:
    """Kafka's timestamps of markers and elicitors on a topic, by key and event time."""
    found = {}
    decoder = msgspec.json.Decoder(_Head)
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka, auto_offset_reset="earliest")
    async with consumer:
        while got := await consumer.getmany(timeout_ms=3_000):
            for record in (record for records in got.values() for record in records):
                if record.key.startswith((_MARKER.encode(), _ELICITOR.encode())):
                    head = decoder.decode(record.value)
                    found[head.api_key, head.ts] = record.timestamp / 1000
    return found


class _Head(msgspec.Struct):
    api_key: str
    ts: float


if __name__ == "__main__":
    main()
