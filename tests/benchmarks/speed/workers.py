"""Two workers compared with one: each has half of the partitions and its own process.

    python -m tests.benchmarks.speed.workers --kafka HOST:PORT --redis URL [--traffic FILE]

The workers have the role `watch`. With `--one-command` they are processes of one worker,
`xm worker --role watch --processes 2`, instead of two workers.

The workers are assigned the partitions of an empty topic and paused. The topic is filled with the
same requests each time. Then the workers continue and are timed from the first event until Redis
has everything. Ratios compare one and two workers of the same round; medians of the rounds are
printed.

Kafka, Redis and two workers at full speed need four cores. With fewer, workers compete for cores,
and the result does not show how they scale. So each worker is limited to a share of a core: it is
suspended whenever it has used more CPU time than its share of the elapsed time. Two workers still
share what could limit scaling: a consumer group, a broker, and Redis with its transactions.
`--share 0` sets no limit. The load of all cores is printed too: near 100%, the machine was the
limit.
"""

from __future__ import annotations

import argparse
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
    Cost,
    default_worker,
    emptied,
    observe,
    parser,
    print_machine,
    print_table,
)
from tests.benchmarks.speed.stream import Stream
from tests.support.programs import Worker
from tests.support.workers import another_worker, metrics, until

_TICK = 0.02  # seconds


class Result(NamedTuple):
    cost: Cost
    load: float  # share of all cores in use, by any process


def main() -> None:
    options = parser(__doc__ or "", "kafka", "redis")
    options.add_argument("--traffic", help="requests, one per line; simulated by default")
    options.add_argument("--events", type=int, default=500_000)
    options.add_argument("--keys", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument(
        "--share", type=float, default=0.5, help="share of a core for each worker; 0: no limit"
    )
    options.add_argument("--one-command", action="store_true", help="processes of one worker")
    chosen = options.parse_args()
    stream = Stream(chosen.traffic, chosen.keys)
    rounds = []
    for _ in range(chosen.rounds):
        found = [_run(count, chosen, stream) for count in (1, 2)]
        print("  ".join(f"{each.cost.rate:,.0f}/s" for each in found), flush=True)
        rounds.append(found)
    print_machine(chosen.redis, chosen.kafka)
    limit = f"{chosen.share:g} of a core per worker" if chosen.share else "no limit"
    print(f"{chosen.events:,} events, {chosen.keys:,} keys, 4 partitions; {limit}\n")
    columns = [
        "workers",
        "events/s",
        "ratio to one",
        "cores used",
        "CPU, µs per event",
        "load of all cores",
    ]
    print_table(columns, [_row(rounds, count) for count in (1, 2)])


def _row(rounds: list[list[Result]], count: int) -> list[str]:
    """A table row: the medians of the rounds with `count` workers."""
    runs = [each[count - 1] for each in rounds]
    rate = median(run.cost.rate for run in runs)
    ratio = median(each[count - 1].cost.rate / each[0].cost.rate for each in rounds)
    cores = median(run.cost.cores for run in runs)
    cost = median(1e6 / run.cost.per_cpu for run in runs)
    load = median(run.load for run in runs)
    return [
        f"{count}",
        f"{rate:,.0f}",
        f"{ratio:.2f}",
        f"{cores:.2f}",
        f"{cost:.1f}",
        f"{load:.0%}",
    ]


def _run(count: int, chosen: argparse.Namespace, stream: Stream) -> Result:
    emptied(chosen.redis).close()
    with ExitStack() as running, tempfile.TemporaryDirectory() as folder:
        first = default_worker(Path(folder, "0"), chosen.kafka, chosen.redis)
        workers = [first]
        if not chosen.one_command:
            workers += [another_worker(first, Path(folder, str(n))) for n in range(1, count)]
        for worker in workers:
            worker.options = ["--role", "watch"]
            if chosen.one_command:
                worker.options += ["--processes", str(count)]
        for worker in workers:
            running.enter_context(worker)
        until(lambda: all(_partitions(worker) == 4 // len(workers) for worker in workers), 120)
        for worker in workers:
            worker.pause()
        sent = asyncio.run(
            send(stream.take(chosen.events), chosen.kafka, first.requests)
        ).acknowledged
        with _limited(workers, chosen.share):
            before, begun = psutil.cpu_times(), time.monotonic()
            cost = observe(workers, sent)
            after, seconds = psutil.cpu_times(), time.monotonic() - begun
        idle = after.idle + after.iowait - before.idle - before.iowait
        return Result(cost, 1 - idle / seconds / (psutil.cpu_count() or 1))


def _partitions(worker: Worker) -> int:
    return sum(name.startswith("xm_lag ") for name in metrics(worker))


@contextmanager
def _limited(workers: Sequence[Worker], share: float) -> Iterator[None]:
    """Continue paused workers, each limited to a share of a core."""
    done = threading.Event()
    processes = [
        process
        for worker in workers
        if worker.process
        for process in worker.children().values() or [psutil.Process(worker.process.pid)]
    ]

    def used(process: psutil.Process) -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    def limit() -> None:
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

    for worker in workers:
        worker.resume()
    limiter = threading.Thread(target=limit)
    limiter.start()
    try:
        yield
    finally:
        done.set()
        limiter.join()


if __name__ == "__main__":
    main()
