"""Events per second from Kafka: this worker compared with other stream processors.

    python -m tests.benchmarks.speed.throughput --kafka HOST:PORT --redis URL [--traffic FILE]

One topic is filled once with requests of about 1 KB (stream.py). In each round, every contender
(contenders/) reads it from the beginning in its own process, one after the other:

    faust_agent     stock Faust, one pipelined Redis update per event
    quix            Quix Streams, requests by key and minute
    bytewax_window  Bytewax, requests by key and minute
    client          aiokafka's getmany, without processing
    worker          `xm worker` with default settings: all features, state and offsets in Redis

A contender is timed from its first event, for a bounded time or to the end of the topic. At the end
of the topic the worker's time stops when Redis has everything. Ratios are medians of the rounds.
To measure one core, give the contenders one core and the servers the other:

    taskset -c 0 python -m tests.support.servers --libs JARS -- taskset -c 1 python -m …
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from pipelines.demo.embedded import die_with_parent
from pipelines.kafka import topics
from pipelines.traffic.producer import send
from tests.benchmarks.speed.contenders.meter import SECONDS
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

CONTENDERS = ("faust_agent", "quix", "bytewax_window", "client", "worker")
_PACKAGES = {"quix": "quixstreams", "bytewax_window": "bytewax"}  # by contender


def main() -> None:
    options = parser(__doc__ or "", "kafka", "redis")
    options.add_argument("--traffic", help="requests, one per line; simulated by default")
    options.add_argument("--events", type=int, default=800_000)
    options.add_argument("--keys", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--only", nargs="+", default=CONTENDERS, choices=CONTENDERS)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        worker = default_worker(Path(folder, "worker"), chosen.kafka, chosen.redis)
        topics.create(worker.settings)
        stream = Stream(chosen.traffic, chosen.keys).take(chosen.events)
        sent = asyncio.run(send(stream, chosen.kafka, worker.requests)).acknowledged
        rounds = []
        for number in range(chosen.rounds):
            found = {}
            for name in chosen.only:
                emptied(chosen.redis).close()
                found[name] = (
                    _worker(worker, sent, number)
                    if name == "worker"
                    else _other(name, worker, sent)
                )
                print(f"{name} {found[name].rate:,.0f}/s", end="  ", flush=True)
            print()
            rounds.append(found)
    packages = [package for name, package in _PACKAGES.items() if name in chosen.only]
    print_machine(chosen.redis, chosen.kafka, *packages)
    print(f"{sent:,} events, {chosen.keys:,} keys, 4 partitions\n")
    _show(rounds)


def _worker(worker: Worker, sent: int, number: int) -> Cost:
    worker.environment["XM_GROUP"] += f"-{number}"
    with worker:
        return observe([worker], sent, max_seconds=SECONDS)


def _other(name: str, worker: Worker, sent: int) -> Cost:
    settings = worker.settings
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.speed.contenders", name, settings.kafka,
         worker.requests, settings.redis_url, str(sent)],
        env=os.environ | {"TMPDIR": str(worker.folder)},
        capture_output=True, timeout=600, preexec_fn=die_with_parent(),
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr.decode())
    return Cost(*json.loads(done.stdout.splitlines()[-1]))


def _show(rounds: list[dict[str, Cost]]) -> None:
    columns = ["contender", "events/s", "cores used", "events per CPU-second"]
    rows = []
    for name in rounds[0]:
        spent = [each[name] for each in rounds]
        row = [f"{median([s.rate for s in spent]):,.0f}", f"{median([s.cores for s in spent]):.2f}"]
        row.append(f"{median([s.per_cpu for s in spent]):,.0f}")
        if "worker" in rounds[0]:
            row.append(f"{median([r['worker'].rate / r[name].rate for r in rounds]):.2f}")
            row.append(f"{median([r['worker'].per_cpu / r[name].per_cpu for r in rounds]):.2f}")
        rows.append([name, *row])
    if "worker" in rounds[0]:
        columns += ["worker's rate to its", "per CPU-second to its"]
    print_table(columns, rows)


if __name__ == "__main__":
    main()
