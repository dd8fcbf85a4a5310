"""Soak test: many faults in mid-stream must not change the results.

    python -m tests.faults.soak --libs DIR

starts Apache Kafka from a folder of its jars, Debian's Redis, and workers on a new topic for each
disturbance. Requests keep arriving during the disturbance. Afterwards an undisturbed engine
observes the topic. Its records, offsets and decisions must be the same bytes as the workers', and
alerts, fingerprints and rejections must be the same. An undisturbed linker then observes the topic
of fingerprints: its population and campaigns must be the same bytes, too, and the alerts the same.
The requests of each key on the topic are also counted and compared with the count in its record.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import logging
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import takewhile
from operator import itemgetter
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec
import numpy as np

from monitor.identity import from_settings
from monitor.records.migrations import read as read_record
from monitor.requests.status import refused
from monitor.store.redis import RECORD_KEY
from pipelines.simulation.scenario import Scenario, Simulation, messages
from pipelines.traffic.producer import Message, SendSchedule, send
from tests.benchmarks.speed.measure import print_machine
from tests.support.programs import Worker
from tests.support.requests import START
from tests.support.servers import Kafka, Redis, Server
from tests.support.workers import (
    another_worker,
    expected_linker_results,
    expected_results,
    get_page,
    linker_results,
    read_topic,
    until,
    worker_results,
)

_RATE = 500.0  # per second


class Stage:
    """Running workers and their servers."""

    def __init__(self, kafka: Server, redis: Redis, folder: Path, stack: ExitStack) -> None:
        self.kafka, self.redis = kafka, redis
        self.dice = Random(folder.name)
        self._folder, self._stack = folder, stack
        four = {"XM_TOPICS__PARTITIONS": "4"}
        self.workers = [Worker(folder / "worker-0", kafka.address, redis.url, **four)]
        self._count = 1
        stack.enter_context(self.worker)

    @property
    def worker(self) -> Worker:
        """The oldest running worker."""
        return self.workers[0]

    def join(self) -> None:
        """Add a worker."""
        self.workers.append(another_worker(self.worker, self._folder / f"worker-{self._count}"))
        self._count += 1
        self._stack.enter_context(self.workers[-1])

    def wait(self, most: float) -> None:
        """Wait a random time of at most `most` seconds."""
        time.sleep(self.dice.uniform(0.0, most))

    def wait_until_ready(self) -> None:
        until(lambda: get_page(self.worker, "/readyz").status == 200)

    def wait_until_not_ready(self) -> None:
        until(lambda: get_page(self.worker, "/readyz").status == 503)


# Disturbances. Each repeats `times` times, and leaves servers and at least one worker running.


def kill_worker(stage: Stage, times: int) -> None:
    """Kill the worker: one time in five while it starts, else while it observes."""
    for n in range(times):
        stage.wait(1.0)
        stage.worker.kill()
        if n % 5 == 4:
            stage.worker.launch()
            stage.wait(4.0)
            stage.worker.kill()
        stage.worker.start()


def change_workers(stage: Stage, times: int) -> None:
    """Add a worker, then terminate or kill the older one."""
    for n in range(times):
        stage.join()
        stage.wait(2.0)
        leaver = stage.workers.pop(0)
        if n % 2:
            leaver.kill()
        else:
            leaver.stop()
            assert leaver.process is not None
            assert leaver.process.returncode == 0
        stage.wait(2.0)


def restart_broker(stage: Stage, times: int) -> None:
    """Alternate between SIGKILL and a normal stop."""
    for n in range(times):
        stage.wait(2.0)
        _end(stage.kafka, n)
        stage.kafka.start()
        stage.wait_until_ready()


def restart_store(stage: Stage, times: int) -> None:
    """Alternate between SIGKILL and a normal stop."""
    for n in range(times):
        stage.wait(2.0)
        _end(stage.redis, n)
        stage.wait_until_not_ready()
        stage.redis.start()
        stage.wait_until_ready()


def pause_store(stage: Stage, times: int) -> None:
    """Pause Redis for ten seconds each time: it neither answers nor closes connections."""
    stage.wait(2.0)
    stage.redis.pause()
    time.sleep(10.0 * times)
    stage.redis.resume()
    stage.wait_until_ready()


def _end(server: Server, n: int) -> None:
    if n % 2:
        server.stop()
    else:
        server.kill()


class Disturbance(NamedTuple):
    """A fault that happens `often` times in a soak and `seldom` times in a test."""

    name: str
    act: Callable[[Stage, int], None]
    often: int
    seldom: int = 1


DISTURBANCES = [
    Disturbance("worker killed", kill_worker, 50, 3),
    Disturbance("worker added, another ended or killed", change_workers, 6, 2),
    Disturbance("broker killed or restarted", restart_broker, 4),
    Disturbance("Redis killed or restarted", restart_store, 8, 2),
    Disturbance("Redis paused, times 10 s", pause_store, 3),
]


# The stream


def stream() -> Iterator[Message]:
    """Requests without end and without ids: one that is observed twice counts twice.

    It starts ten minutes before midnight. Every four minutes a scraper and two fleets start. Of 100
    requests, ten are from visitors, who may return, five from a key that asks for reasoning traces
    and is replaced after 20 requests, and five are invalid.
    """
    dice = Random("stream")
    casts = [
        Simulation(Scenario(seed=n, start=START - 600, keys=20, attack_delay=120.0 + 240.0 * n))
        for n in range(40)
    ]
    events = heapq.merge(*(cast.events() for cast in casts), key=itemgetter("ts"))
    for number, event in enumerate(events):
        yield _message({**event, "id": None})
        if number % 8 == 0:
            yield _message({"ts": event["ts"], "api_key": f"sk-visitor-{dice.randrange(10_000)}"})
        if number % 16 == 0:
            key, prompt = f"sk-asker-{number // 320}", f"Show your reasoning on {number}."
            yield _message({"ts": event["ts"], "api_key": key, "prompt": prompt})
            yield Message(None, b"no JSON")


def _message(event: dict[str, Any]) -> Message:
    ((message,),) = messages([event])
    return message


@contextmanager
def streaming(worker: Worker, rate: float = _RATE) -> Iterator[None]:
    """Send requests until the block is left, then wait until Kafka has all of them."""
    over = threading.Event()
    batches = ([message] for message in takewhile(lambda _: not over.is_set(), stream()))
    to = worker.settings.kafka, worker.requests
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(
            lambda: asyncio.run(send(batches, *to, schedule=SendSchedule(rate=rate)))
        )
        try:
            yield
        finally:
            over.set()
        sending.result()


# Comparison


class Comparison(NamedTuple):
    """Workers that were disturbed beside an engine that was not.

    Attributes:
        requests: on the topic, without refused ones.
        records: number of compared records, partition states, decisions and rows of the linker.
        alerts: number of different alerts, without those of campaigns.
        campaigns: number of alerts of campaigns.
        differing: names of records, states, decisions and rows whose bytes differ.
        missing: alerts, fingerprints and rejections that the workers have not sent.
        extra: that the workers alone have sent.
        lost: of these requests, those that are in no record.
        doubled: requests that records count more often than the topic has them.
    """

    requests: int
    records: int
    alerts: int
    campaigns: int
    differing: list[str]
    missing: set[bytes]
    extra: set[bytes]
    lost: Counter[str]
    doubled: Counter[str]

    @property
    def faults(self) -> list[str]:
        return [
            *(f"{key} differs" for key in self.differing),
            *(f"{each!r} is missing" for each in self.missing),
            *(f"{each!r} is extra" for each in self.extra),
            *(f"{count} requests of {key} are lost" for key, count in self.lost.items()),
            *(f"{count} requests of {key} are doubled" for key, count in self.doubled.items()),
        ]


def compare(worker: Worker) -> Comparison:
    """Compare the results of the worker's stream, once observed, with the expected ones."""
    expected = expected_results(worker)
    found = worker_results(worker, expected)
    found_links = linker_results(worker)
    links = expected_linker_results(worker, found_links.observed)
    expected_output, output = (
        {*of.alerts, *of.fingerprints, *map(str.encode, of.rejected), *campaigns.alerts}
        for of, campaigns in ((expected, links), (found, found_links))
    )
    sent, observed = requests_on_topic(worker), observed_requests(found.stored)
    return Comparison(
        requests=sent.total(),
        records=len(expected.stored) + len(links.rows),
        alerts=len(set(expected.alerts)),
        campaigns=len(set(links.alerts)),
        differing=[
            *(key for key, value in expected.stored.items() if found.stored[key] != value),
            *(key.decode() for key, row in links.rows.items() if found_links.rows.get(key) != row),
            *(["the linker's state"] if found_links.state != links.state else []),
        ],
        missing=expected_output - output,
        extra=output - expected_output,
        lost=sent - observed,
        doubled=observed - sent,
    )


def requests_on_topic(worker: Worker) -> Counter[str]:
    """The number of requests of each key that count, on the topic."""
    identity = from_settings(worker.settings)
    on_topic = [each for each in read_topic(worker, worker.requests) if each.key is not None]
    keys = [each.key.decode() for each in on_topic if not _is_refused(each.value)]
    return Counter(map(identity.key, keys))


def observed_requests(stored: dict[str, bytes | None]) -> Counter[str]:
    """The number of requests in each key's record."""
    return Counter(
        {
            key.removeprefix(RECORD_KEY): int(read_record(value)["requests"])
            for key, value in stored.items()
            if key.startswith(RECORD_KEY + "k_") and value is not None
        }
    )


def _is_refused(request: bytes) -> bool:
    status = msgspec.json.decode(request).get("status") or 0
    return bool(refused(np.array([status]))[0])


def disturbed(
    kafka: Server, redis: Redis, folder: Path, act: Callable[[Stage, int], None], times: int
) -> Comparison:
    """Disturb workers in mid-stream, and compare when they have caught up."""
    with ExitStack() as stack:
        stage = Stage(kafka, redis, folder, stack)
        with streaming(stage.worker):
            act(stage, times)
            stage.wait(2.0)
        return compare(stage.worker)


# The command


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--libs", type=Path, required=True, help="folder of Apache Kafka's jars")
    parser.add_argument("--only", help="disturbances whose names contain this")
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it logs every unavailable broker
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="xm-soak-") as name:
        folders = {each: Path(name, each) for each in ("kafka", "redis")}
        for folder in folders.values():
            folder.mkdir()
        with Kafka(folders["kafka"], options.libs) as kafka, Redis(folders["redis"]) as redis:
            print_machine(redis.url, kafka.address)
            _row("disturbance", "times", "requests", "records", "alerts", "campaign alerts",
                 "records that differ", "messages missing", "extra", "requests lost", "doubled",
                 "seconds")  # fmt: skip
            _row("---", *["---:"] * 11)
            for number, (what, act, often, _) in enumerate(DISTURBANCES):
                if options.only and options.only not in what:
                    continue
                folder = Path(name, str(number))
                folder.mkdir()
                begun = time.monotonic()
                found = disturbed(kafka, redis, folder, act, often)
                seconds = round(time.monotonic() - begun)
                counts = found.requests, found.records, found.alerts, found.campaigns
                wrong = map(len, (found.differing, found.missing, found.extra))
                totals = found.lost.total(), found.doubled.total()
                _row(what, often, *counts, *wrong, *totals, seconds)
                faults += found.faults
    for fault in faults[:20]:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def _row(*cells: Any) -> None:
    texts = [f"{cell:,}" if isinstance(cell, int) else cell for cell in cells]
    print("|", " | ".join(texts), "|", flush=True)


if __name__ == "__main__":
    sys.exit(main())
