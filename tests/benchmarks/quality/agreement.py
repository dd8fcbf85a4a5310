"""Compare the alerts of a worker behind Kafka with those of `xm replay`.

    python -m tests.benchmarks.quality.agreement TRAFFIC.jsonl --kafka HOST:PORT --redis URL

Sends the file to a topic with one partition and to one with four, lets a worker read each to its
end, and compares its alerts with those of a replay of the file.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
import urllib.request
from pathlib import Path

import msgspec
import redis
from kafka import KafkaConsumer

from monitor.alerting.alerts import Alert
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import from_settings
from monitor.linker import Linker
from monitor.requests.decoder import Decoder
from monitor.store.memory import MemoryStore
from pipelines.traffic.producer import send_file
from pipelines.traffic.recording import Recording
from pipelines.traffic.replay import replay
from tests.support.programs import Worker

SECRET = "known to this test only"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("traffic", help="requests, one per line, in time order")
    parser.add_argument("--kafka", required=True, help="host:port")
    parser.add_argument("--redis", required=True, help="URL; the database is emptied")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings, store = Settings(identity_secret=SECRET), MemoryStore()
        engine, linker = Engine(settings, from_settings(settings), store), Linker(settings, store)
        recording = Recording([arguments.traffic], Decoder.of(settings))
        outcomes = replay(recording, engine, store, linker)
        replayed = [alert for outcome in outcomes for alert in outcome.alerts]
        for partitions in (1, 4):
            redis.from_url(arguments.redis).flushdb()
            streamed = _stream(arguments, Path(folder) / str(partitions), partitions)
            _compare(replayed, streamed, partitions)


def _stream(arguments: argparse.Namespace, folder: Path, partitions: int) -> list[Alert]:
    chosen = {"XM_TOPICS__PARTITIONS": str(partitions), "XM_IDENTITY_SECRET": SECRET}
    worker = Worker(folder, arguments.kafka, arguments.redis, **chosen)
    worker.start()
    try:
        sent = asyncio.run(send_file(arguments.traffic, arguments.kafka, worker.requests))
        while _count_events(worker) < sent.acknowledged:
            time.sleep(0.2)
        time.sleep(2)
    finally:
        worker.stop()
    consumer = KafkaConsumer(
        worker.environment["XM_TOPICS__ALERTS"],
        bootstrap_servers=arguments.kafka,
        auto_offset_reset="earliest",
        consumer_timeout_ms=3_000,
    )
    return [msgspec.json.decode(record.value, type=Alert) for record in consumer]


def _count_events(worker: Worker) -> float:
    with urllib.request.urlopen(f"{worker.url}/metrics") as page:
        lines = page.read().decode().splitlines()
    counted = ("xm_events_total", "xm_refused_requests_total", "xm_rejections_total")
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(counted))


def _compare(replayed: list[Alert], streamed: list[Alert], partitions: int) -> None:
    both = (replayed, streamed)
    results = {
        "flagged keys": [{a.subject.id for a in x if a.severity != "info"} for x in both],
        "alert ids": [{a.id for a in x} for x in both],
        "alerts": [{(a.id, a.state, a.severity, a.detected_at) for a in x} for x in both],
    }
    for name, (by_replay, by_worker) in results.items():
        same = "identical" if by_replay == by_worker else "DIFFERENT"
        print(
            f"{partitions} partition(s): {name}: {len(by_replay)} by replay, "
            f"{len(by_worker)} by the worker, {same}"
        )


if __name__ == "__main__":
    main()
