"""CPU time per event of each role, at full speed and at a multiple of real time.

    python -m tests.benchmarks.speed.roles --kafka HOST:PORT --redis URL --traffic DAY.jsonl

The linker works by event time: a recorded day that passes in seconds has it do a day's rounds in
them. So the first half of a recording is read at full speed by workers with the roles `watch`,
`link` and `deliver`, and some minutes from its middle at a multiple of real time. A process also
takes some CPU time while it waits; at a low rate that is most of what it takes per event, so it is
measured before and subtracted in the sum.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain, takewhile
from pathlib import Path

from pipelines.kafka import topics
from pipelines.traffic.producer import Message, SendSchedule, send
from tests.benchmarks.speed.measure import (
    DONE,
    cpu_seconds,
    default_worker,
    emptied,
    numbers,
    parser,
    print_machine,
    print_table,
)
from tests.benchmarks.speed.stream import batches, requests_of
from tests.support.programs import Worker
from tests.support.workers import another_worker, until

_ROLES = ("watch", "link", "deliver")
_IDLE, _TICK = 10.0, 2.0  # seconds
_CALM = 0.05  # of a core, below which workers have nothing left to do

Spent = dict[str, float]  # CPU-seconds by role


def main() -> None:
    options = parser(__doc__ or "", "kafka", "redis")
    options.add_argument("--traffic", required=True, help="requests, one per line, in time order")
    options.add_argument("--events", type=int, default=400_000, help="of the recording, at most")
    options.add_argument("--speed", type=float, default=60.0, help="multiple of real time")
    options.add_argument("--seconds", type=float, default=60.0, help="at that speed")
    chosen = options.parse_args()
    recorded = list(chain.from_iterable(requests_of(chosen.traffic, 0, True, chosen.events)))
    middle = len(recorded) // 2
    begin = recorded[middle].ts or 0.0
    end = begin + chosen.seconds * chosen.speed
    later = list(takewhile(lambda each: (each.ts or 0.0) < end, recorded[middle:]))
    emptied(chosen.redis).close()
    with ExitStack() as running, tempfile.TemporaryDirectory() as folder:
        workers = dict(_workers(Path(folder), chosen.kafka, chosen.redis))
        for worker in workers.values():
            running.enter_context(worker)
        full = _pass(workers, recorded[:middle], None)
        fingerprints = numbers(workers["link"])["xm_fingerprints_total"]
        idle = _in(_IDLE, workers)
        begun = time.monotonic()
        slow = _pass(workers, later, chosen.speed)
        seconds = time.monotonic() - begun
    print_machine(chosen.redis, chosen.kafka)
    print(f"{middle:,} events at full speed, {len(later):,} at {chosen.speed:g} times real time")
    print(f"At full speed {1e6 * full['link'] / fingerprints:.0f} µs of `link` per fingerprint\n")
    rows, total = [], 0.0
    for role in _ROLES:
        fast = 1e6 * full[role] / middle
        waiting = 1e6 * idle[role] * seconds / _IDLE / len(later)
        added = max(0.0, 1e6 * slow[role] / len(later) - waiting)
        total += fast if role == "watch" else added
        idling = f"{1e3 * idle[role] / _IDLE:.1f}"
        rows.append([role, f"{fast:.1f}", f"{added + waiting:.1f}", f"{added:.1f}", idling])
    columns = ["CPU, µs per event", "at full speed", f"at {chosen.speed:g} times real time"]
    columns += ["without the waiting", "waiting, ms of CPU per second"]
    print_table(columns, rows)
    print(
        f"\n`watch` at full speed, `link` and `deliver` at {chosen.speed:g} times real time: "
        f"{total:.1f} µs per event, {1e6 / total:,.0f} events per CPU-second."
    )


def _workers(folder: Path, kafka: str, redis_url: str) -> Iterator[tuple[str, Worker]]:
    """A worker for each role, in one installation."""
    first = default_worker(folder / "watch", kafka, redis_url)
    topics.create(first.settings)
    for role in _ROLES:
        worker = first if role == "watch" else another_worker(first, folder / role)
        worker.options = ["--role", role]
        yield role, worker


def _pass(workers: dict[str, Worker], messages: list[Message], speed: float | None) -> Spent:
    """Send messages, wait until all roles have nothing left to do, and return the CPU-seconds."""
    before, watch = _used(workers), workers["watch"]
    seen = _done(watch)
    schedule = SendSchedule(speed=speed)
    parts = batches(iter(messages), 2_000 if speed is None else 20)
    asyncio.run(send(parts, watch.settings.kafka, watch.requests, schedule=schedule))
    until(lambda: _done(watch) - seen >= len(messages), what="for all events")
    until(lambda: all(each < _CALM * _TICK for each in _in(_TICK, workers).values()))
    return _since(before, workers)


def _done(watch: Worker) -> float:
    page = numbers(watch)
    return sum(page[name] for name in DONE)


def _in(seconds: float, workers: dict[str, Worker]) -> Spent:
    before = _used(workers)
    time.sleep(seconds)
    return _since(before, workers)


def _since(before: Spent, workers: dict[str, Worker]) -> Spent:
    return {role: used - before[role] for role, used in _used(workers).items()}


def _used(workers: dict[str, Worker]) -> Spent:
    return {
        role: cpu_seconds(worker.process.pid)
        for role, worker in workers.items()
        if worker.process is not None
    }


if __name__ == "__main__":
    main()
