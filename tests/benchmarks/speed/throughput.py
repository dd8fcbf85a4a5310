"""Events per second from Kafka: this worker compared with other stream processors.

    python -m tests.benchmarks.speed.throughput --kafka HOST:PORT --redis URL [--traffic FILE]

One topic is filled once with requests of about 1 KB (stream.py). In each round, every contender
(contenders/) reads it from the beginning in its own process, one after the other:

    faust_agent     stock Faust, one pipelined Redis update per event
    quix            Quix Streams, requests by key and minute
    bytewax_window  Bytewax, requests by key and minute
    agent_means     what a gateway team writes by hand: a Faust agent with wordllama's embeddings,
                    the mean of each key in Redis
    minilm_mmd      the published method: MiniLM's embeddings on the CPU, exact MMD per key
    client          aiokafka's getmany, without processing
    worker          `xm worker` with default settings: all features, state and offsets in Redis

The worker has the role `watch`; `--role` adds others, or `all`. With `--as-recorded` a recording
is sent as it is, with its keys.

A contender is timed from its first event, for a bounded time or to the end of the topic. At the end
of the topic the worker's time stops when Redis has everything. Ratios are medians of the rounds.
To measure one core, give the contenders one core and the servers the other:

    taskset -c 0 python -m tests.support.servers --libs JARS -- taskset -c 1 python -m …
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from statistics import median

from pipelines.kafka import topics
from pipelines.traffic.producer import send
from tests.benchmarks.speed.contenders.meter import SECONDS
from tests.benchmarks.speed.measure import (
    Cost,
    contender,
    default_worker,
    emptied,
    observe,
    parser,
    print_machine,
    print_table,
)
from tests.benchmarks.speed.stream import requests_of
from tests.support.programs import Worker

CONTENDERS = (
    "faust_agent", "quix", "bytewax_window", "agent_means", "minilm_mmd", "client", "worker",
)  # fmt: skip
_PACKAGES = {"quix": "quixstreams", "bytewax_window": "bytewax"}  # by contender


def main() -> None:
    options = parser(__doc__ or "", "kafka", "redis")
    options.add_argument("--traffic", help="requests, one per line; simulated by default")
    options.add_argument("--as-recorded", action="store_true", help="keep the keys of --traffic")
    options.add_argument("--role", default="watch", help="of the worker; with commas, or all")
    options.add_argument("--events", type=int, default=300_000)
    options.add_argument("--keys", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--only", nargs="+", default=CONTENDERS, choices=CONTENDERS)
    chosen = options.parse_args()
    if not {"watch", "all"} & set(chosen.role.split(",")):
        options.error("Only watch reads requests; roles.py measures the other roles.")
    with tempfile.TemporaryDirectory() as folder:
        worker = default_worker(Path(folder, "worker"), chosen.kafka, chosen.redis)
        worker.options = ["--role", chosen.role]
        topics.create(worker.settings)
        stream = requests_of(chosen.traffic, chosen.keys, chosen.as_recorded, chosen.events)
        sent = asyncio.run(send(stream, chosen.kafka, worker.requests)).acknowledged
        rounds = []
        for number in range(chosen.rounds):
            found = {}
            for name in chosen.only:
                emptied(chosen.redis).close()
                found[name] = (
                    _worker(worker, sent, number)
                    if name == "worker"
                    else contender(name, worker, sent)
                )
                print(f"{name} {found[name].rate:,.0f}/s", end="  ", flush=True)
            print()
            rounds.append(found)
    packages = [package for name, package in _PACKAGES.items() if name in chosen.only]
    print_machine(chosen.redis, chosen.kafka, *packages)
    keys = "keys as recorded" if chosen.as_recorded else f"{chosen.keys:,} keys"
    print(f"{sent:,} events, {keys}, 4 partitions, role {chosen.role}\n")
    _show(rounds)


def _worker(worker: Worker, sent: int, number: int) -> Cost:
    worker.environment["XM_GROUP"] += f"-{number}"
    with worker:
        return observe([worker], sent, max_seconds=SECONDS)


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
