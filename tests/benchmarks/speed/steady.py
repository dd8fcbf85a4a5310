"""An hour at a steady rate with all roles: memory, lag, log lines and the time of look-ups.

    python -m tests.benchmarks.speed.steady --kafka HOST:PORT --redis URL [--minutes 60]

First the maximum rate of a worker with all roles is measured. Then a new worker gets requests with
current timestamps at a third of that rate: ordinary ones of many keys, and among them a simulation
with keys that extract the model, so that alerts, campaigns and decisions arise. Alerts go to
Alertmanager. A process of its own looks up decisions all the time, most of keys without one.

One row per minute is printed: what arrived, the lag, the memory of each process and of Redis, and
the time of look-ups. After the first ten minutes (the warm-up) memory should be flat. At the end
every log line that is a warning or worse is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import chain, count
from multiprocessing.queues import Queue
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import redis
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from pipelines.kafka import topics
from pipelines.simulation.scenario import Scenario, Simulation, messages
from pipelines.traffic.producer import Message, SendSchedule, send
from tests.benchmarks.speed.measure import (
    default_worker,
    emptied,
    numbers,
    observe,
    parser,
    print_machine,
    print_table,
)
from tests.benchmarks.speed.stream import Stream, batches
from tests.support.alertmanager import Alertmanager
from tests.support.programs import Worker
from tests.support.workers import until

_MINUTE, _WARM_UP = 60.0, 10  # seconds, minutes
_KEPT = {"retention.bytes": str(300 << 20), "segment.bytes": str(50 << 20)}  # of the requests
_MB = 1 << 20
_NOBODY = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"


class Minute(NamedTuple):
    """What was measured at the end of a minute; memory in MB, look-ups in milliseconds."""

    events: float
    lag: float
    memory: dict[str, float]  # resident, by process
    redis: float
    median: float
    p99: float


def main() -> None:
    options = parser(__doc__ or "", "kafka", "redis")
    options.add_argument("--minutes", type=int, default=60)
    options.add_argument("--keys", type=int, default=20_000, help="ordinary keys")
    options.add_argument("--rate", type=float, help="per second; default: a third of the maximum")
    options.add_argument("--lookups", type=float, default=50.0, help="per second")
    chosen = options.parse_args()
    stream = Stream(None, chosen.keys)
    with tempfile.TemporaryDirectory() as folder:
        rate = chosen.rate or _max_rate(Path(folder, "max"), chosen, stream) / 3
        print(f"{rate:,.0f} requests/s", flush=True)
        with Alertmanager(Path(folder, "alertmanager"), _NOBODY) as alertmanager:
            minutes, log = _run(Path(folder, "steady"), chosen, stream, rate, alertmanager.url)
    print_machine(chosen.redis, chosen.kafka)
    print(f"{rate:,.0f} requests/s, {chosen.keys:,} ordinary keys, {chosen.lookups:g} look-ups/s\n")
    names = sorted(minutes[-1].memory)
    rows = [_row(number, each, names) for number, each in enumerate(minutes, 1)]
    print_table(_columns(names), rows)
    print("\nMemory at the end, as a share of that after ten minutes:")
    warm, last = minutes[min(_WARM_UP, len(minutes)) - 1], minutes[-1]
    for name in names:
        print(f"  {name}: {last.memory[name] / warm.memory.get(name, last.memory[name]):.2f}")
    worst = max(each.p99 for each in minutes)
    print(f"Look-ups, p99 of the worst minute: {worst:.1f} ms")
    unexpected = [line for line in log if " INFO " not in line]
    print(
        f"{len(log)} log lines, {len(unexpected)} of them not INFO:", *unexpected[:40], sep="\n  "
    )


def _max_rate(folder: Path, chosen: argparse.Namespace, stream: Stream) -> float:
    worker = default_worker(folder, chosen.kafka, chosen.redis)
    topics.create(worker.settings)
    sent = asyncio.run(send(stream.take(300_000), chosen.kafka, worker.requests)).acknowledged
    emptied(chosen.redis).close()
    with worker:
        return observe([worker], sent, max_seconds=15.0).rate


def _run(
    folder: Path, chosen: argparse.Namespace, stream: Stream, rate: float, alertmanager: str
) -> tuple[list[Minute], list[str]]:
    emptied(chosen.redis).close()
    worker = default_worker(
        folder,
        chosen.kafka,
        chosen.redis,
        XM_RECEIVERS__ALERTMANAGER_URL=alertmanager,
        XM_DECISIONS__SHADOW="false",
    )
    topics.create(worker.settings)
    _bound(worker)
    stop = threading.Event()
    answers: Queue[float] = multiprocessing.get_context("spawn").Queue()
    asking = multiprocessing.get_context("spawn").Process(
        target=_ask, args=(worker.port, chosen.lookups, answers), daemon=True
    )
    with worker:
        producing = threading.Thread(target=_produce, args=(worker, stream, rate, stop))
        producing.start()
        asking.start()
        try:
            with redis.from_url(chosen.redis) as client:
                minutes = list(_watched(worker, client, answers, chosen.minutes))
        finally:
            stop.set()
            producing.join()
            asking.terminate()
        until(lambda: not numbers(worker)["xm_lag"], what="for the end of the topic")
    return minutes, worker.log.read_text().splitlines()


def _watched(
    worker: Worker, client: redis.Redis, answers: Queue[float], number: int
) -> Iterator[Minute]:
    begun, before, names = time.monotonic(), 0.0, None
    for minute in range(1, number + 1):
        time.sleep(max(0.0, begun + minute * _MINUTE - time.monotonic()))
        times = [1e3 * answers.get() for _ in range(answers.qsize())] or [float("nan")]
        page = numbers(worker)
        assert worker.process is not None
        processes = {"supervisor": psutil.Process(worker.process.pid), **worker.children()}
        found = Minute(
            page["xm_events_total"] - before,
            page["xm_lag"],
            {name: each.memory_info().rss / _MB for name, each in processes.items()},
            client.info("memory")["used_memory"] / _MB,
            float(np.median(times)),
            float(np.percentile(times, 99)),
        )
        before = page["xm_events_total"]
        if names is None:
            names = sorted(found.memory)
            print(*_columns(names), flush=True)
        print(*_row(minute, found, names), flush=True)
        yield found


def _produce(worker: Worker, stream: Stream, rate: float, stop: threading.Event) -> None:
    """Send requests at a rate until `stop` is set: ordinary ones, and a simulation as it is due."""

    def traffic() -> Iterator[Message]:
        simulated = chain.from_iterable(
            messages(Simulation(Scenario(start=time.time())).events(), 1)
        )
        due = next(simulated)
        for number in count():
            if stop.is_set():
                return
            now = time.time()
            while due.ts is not None and due.ts <= now:
                yield due
                due = next(simulated)
            yield stream.message(number, now)

    asyncio.run(
        send(
            batches(traffic(), max(1, int(rate / 50))),
            worker.settings.kafka,
            worker.requests,
            schedule=SendSchedule(rate=rate),
        )
    )


def _ask(port: int, rate: float, answers: Queue[float]) -> None:
    """Look up one key after another at a rate, and put the seconds of each answer in a queue."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    begun = time.monotonic()
    for number in count():
        time.sleep(max(0.0, begun + number / rate - time.monotonic()))
        asked = time.monotonic()
        try:
            _look_up(connection, number)
        except http.client.RemoteDisconnected:  # a connection ends after some thousand requests
            _look_up(connection, number)
        answers.put(time.monotonic() - asked)


def _look_up(connection: http.client.HTTPConnection, number: int) -> None:
    connection.request("GET", "/v1/decision", headers={"X-API-Key": f"sk-{number % 5_000:05d}"})
    connection.getresponse().read()


def _bound(worker: Worker) -> None:
    """Keep only the newest requests: an hour of them would fill a disk."""
    with closing(KafkaAdminClient(bootstrap_servers=worker.settings.kafka)) as admin:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, worker.requests, _KEPT)])


def _columns(names: list[str]) -> list[str]:
    return ["minute", "requests", "lag", *(f"{each}, MB" for each in names), "Redis, MB",
            "p50, ms", "p99, ms"]  # fmt: skip


def _row(number: int, found: Minute, names: list[str]) -> list[str]:
    memory = (f"{found.memory.get(name, float('nan')):.0f}" for name in names)
    return [f"{number}", f"{found.events:,.0f}", f"{found.lag:,.0f}", *memory,
            f"{found.redis:.0f}", f"{found.median:.1f}", f"{found.p99:.1f}"]  # fmt: skip


if __name__ == "__main__":
    main()
