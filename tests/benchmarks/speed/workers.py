"""Two workers against one: each on half of the partitions, in a process of its own.

    python -m tests.benchmarks.speed.workers --kafka HOST:PORT --redis URL [--traffic FILE]

The workers get their partitions of an empty topic and are stopped; the topic is filled with the
same requests each time; then they go on together, and are timed from the first event observed until
Redis has all of it. Ratios are of one worker and two in the same round, medians over the rounds.

Kafka, Redis and two workers at full speed want four cores. Where there are fewer, workers wait for
a core rather than for each other, which says nothing of how they scale. So each is held to a share
of a core, alone or not: it is stopped for a moment whenever it has used more CPU time than its
share of the time that has passed. What could keep two from doing twice as much, a group, a broker,
a Redis and its transactions, they still have in common. `--share 0` holds nobody to anything. How
busy all cores were together is printed too: near 100% the machine was the limit.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil

from pipelines.traffic.producer import send
from tests.benchmarks.speed.measure import (
    Spent,
    default_worker,
    emptied,
    observe,
    parser,
    show,
    show_machine,
)
from tests.benchmarks.speed.stream import Stream
from tests.support.programs import Worker
from tests.support.workers import beside, metrics, until

_TICK = 0.02  # seconds


class Found(NamedTuple):
    spent: Spent
    busy: float  # share of all cores, by whomever


def main() -> None:
    options = parser(__doc__ or "", "kafka", "redis")
    options.add_argument("--traffic", help="requests, one a line; default: simulated ones")
    options.add_argument("--events", type=int, default=500_000)
    options.add_argument("--keys", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--share", type=float, default=0.5, help="of a core, for each worker")
    chosen = options.parse_args()
    stream = Stream(chosen.traffic, chosen.keys)
    rounds = []
    for _ in range(chosen.rounds):
        found = [
            _run(count, chosen.kafka, chosen.redis, stream, chosen.events, chosen.share)
            for count in (1, 2)
        ]
        print("  ".join(f"{each.spent.rate:,.0f}/s" for each in found), flush=True)
        rounds.append(found)
    show_machine(chosen.redis, chosen.kafka)
    limit = f"{chosen.share:g} of a core for each worker" if chosen.share else "no limit"
    print(f"{chosen.events:,} events, {chosen.keys:,} keys, 4 partitions; {limit}\n")
    columns = ["workers", "events/s", "to one", "cores used", "CPU, µs an event", "all cores busy"]
    show(columns, [_row(rounds, count) for count in (1, 2)])


def _row(rounds: list[list[Found]], count: int) -> list[str]:
    """The medians of those rounds' runs with so many workers."""
    runs = [each[count - 1] for each in rounds]
    rate = median(run.spent.rate for run in runs)
    ratio = median(each[count - 1].spent.rate / each[0].spent.rate for each in rounds)
    cores = median(run.spent.cores for run in runs)
    cost = median(1e6 / run.spent.per_cpu for run in runs)
    busy = median(run.busy for run in runs)
    return [
        f"{count}",
        f"{rate:,.0f}",
        f"{ratio:.2f}",
        f"{cores:.2f}",
        f"{cost:.1f}",
        f"{busy:.0%}",
    ]


def _run(
    count: int, kafka: str, redis_url: str, stream: Stream, events: int, share: float
) -> Found:
    emptied(redis_url).close()
    with ExitStack() as running, tempfile.TemporaryDirectory() as folder:
        first = default_worker(Path(folder, "0"), kafka, redis_url)
        workers = [first, *(beside(first, Path(folder, str(n))) for n in range(1, count))]
        for worker in workers:
            running.enter_context(worker)
        until(lambda: all(_partitions(worker) == 4 // count for worker in workers), 120)
        for worker in workers:
            worker.pause()
        sent = asyncio.run(send(stream.take(events), kafka, first.requests)).acknowledged
        with _held(workers, share):
            before, begun = psutil.cpu_times(), time.monotonic()
            spent = observe(workers, sent)
            after, seconds = psutil.cpu_times(), time.monotonic() - begun
        idle = after.idle + after.iowait - before.idle - before.iowait
        return Found(spent, 1 - idle / seconds / (psutil.cpu_count() or 1))


def _partitions(worker: Worker) -> int:
    return sum(name.startswith("xm_lag ") for name in metrics(worker))


@contextmanager
def _held(workers: Sequence[Worker], share: float) -> Iterator[None]:
    """Let stopped workers go on, each with that share of a core and no more."""
    done = threading.Event()
    processes = [psutil.Process(worker.process.pid) for worker in workers if worker.process]

    def used(process: psutil.Process) -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    def hold() -> None:
        begun, before = time.monotonic(), [used(process) for process in processes]
        while share and not done.wait(_TICK):
            allowed = share * (time.monotonic() - begun)
            for process, start in zip(processes, before, strict=True):
                if used(process) - start > allowed:
                    process.suspend()
                else:
                    process.resume()
        for process in processes:
            process.resume()

    holding = threading.Thread(target=hold)
    holding.start()
    try:
        yield
    finally:
        done.set()
        holding.join()


if __name__ == "__main__":
    main()
