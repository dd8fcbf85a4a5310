"""Compare the alerts of workers behind Kafka with those of `xm replay`.

    python -m tests.benchmarks.quality.agreement TRAFFIC.jsonl --kafka HOST:PORT --redis URL

Sends the file at full speed to a topic with one partition and to one with eight, lets workers read
each to its end, and compares their alerts with those of a replay of the file: all of them, and
those of campaigns. Two workers read the eight partitions. With --kill one of them is killed when
half of the file is read, and the other takes its partitions over.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec
import redis

from monitor.alerting.alerts import Alert
from monitor.config import Settings
from monitor.identity import from_settings
from monitor.requests.decoder import Decoder
from monitor.store.redis import PARTITION_KEY
from pipelines.kafka.offsets import Offsets
from pipelines.traffic.producer import send_file
from pipelines.traffic.recording import Recording
from pipelines.traffic.replay import replay_recording
from tests.support.programs import Worker
from tests.support.workers import another_worker, load_link_partition, metrics, read_topic, until

SECRET = "known to this test only"
_PATIENCE = 3_600.0  # seconds
_FACTS: dict[str, Callable[[Alert], object]] = {
    "ids": lambda alert: alert.id,
    "ids, states, severities, times": lambda a: (a.id, a.state, a.severity, a.detected_at),
    "whole": msgspec.json.encode,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("traffic", help="requests, one per line, in time order")
    parser.add_argument("--kafka", required=True, help="host:port")
    parser.add_argument("--redis", required=True, help="URL; the database is emptied")
    parser.add_argument("--partitions", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--kill", action="store_true", help="kill a worker half-way")
    arguments = parser.parse_args()
    replayed = _replay(arguments.traffic)
    for partitions in arguments.partitions:
        redis.from_url(arguments.redis).flushdb()
        with tempfile.TemporaryDirectory() as folder:
            begun = time.monotonic()
            streamed = _stream(arguments, Path(folder) / "worker", partitions)
            print(f"{partitions} partition(s), {time.monotonic() - begun:.0f} s", flush=True)
        _compare(replayed, streamed)


def _replay(traffic: str) -> list[Alert]:
    settings, alerts = Settings(identity_secret=SECRET), list[Alert]()
    replay_recording(
        Recording([traffic], Decoder.of(settings)),
        settings,
        from_settings(settings),
        on_outcome=lambda outcome: alerts.extend(outcome.alerts),
    )
    return alerts


def _stream(arguments: argparse.Namespace, folder: Path, partitions: int) -> list[Alert]:
    worker = Worker(
        folder,
        arguments.kafka,
        arguments.redis,
        XM_TOPICS__PARTITIONS=str(partitions),
        XM_IDENTITY_SECRET=SECRET,
    )
    with ExitStack() as running:
        workers = [running.enter_context(worker)]
        if partitions > 1:
            other = another_worker(worker, folder.with_name("other"))
            workers.append(running.enter_context(other))
        sent = asyncio.run(send_file(arguments.traffic, arguments.kafka, worker.requests))
        if arguments.kill and partitions > 1:
            until(lambda: sum(map(_count, workers)) > sent.acknowledged / 2, _PATIENCE)
            workers[-1].kill()
        _wait(worker, partitions)
        found = read_topic(worker, worker.settings.topics.alerts)
    return [msgspec.json.decode(record.value, type=Alert) for record in found]


def _wait(worker: Worker, partitions: int) -> None:
    """Wait until all requests are observed, and the linker has run its last round."""
    settings = worker.settings
    topic = settings.topics.fingerprints
    ends = Offsets(settings).ends([f"{worker.requests}:{n}" for n in range(partitions)])
    with redis.from_url(settings.redis_url) as store:

        def is_done() -> bool:
            linker = load_link_partition(store.get(f"{PARTITION_KEY}{topic}:0"))
            sources = linker.progress.snapshot().sources
            done = [
                source.is_done and source.offset >= ends.get(name, 0)
                for name, source in sources.items()
            ]
            last = max((source.watermark for source in sources.values()), default=0.0)
            whole = len(done) == partitions and all(done)
            return whole and not linker.outbox and linker.next_round > last

        until(is_done, _PATIENCE)


def _count(worker: Worker) -> float:
    """The requests that a worker has observed."""
    found = metrics(worker)
    return sum(value for name, value in found.items() if name.startswith("xm_events_total"))


def _compare(replayed: list[Alert], streamed: list[Alert]) -> None:
    for name, campaigns in (("of campaigns", True), ("of others", False)):
        ours, theirs = (
            [each for each in alerts if (each.kind == "campaign") == campaigns]
            for alerts in (replayed, streamed)
        )
        for what, of in _FACTS.items():
            one, other = set(map(of, ours)), set(map(of, theirs))
            print(
                f"  {name}, {what}: {len(one)} by replay, {len(other)} by the workers, "
                f"{len(one & other)} the same",
                flush=True,
            )


if __name__ == "__main__":
    main()
