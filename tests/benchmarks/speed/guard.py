"""CPU time per event of the engine and the worker, compared with stock Faust's in the same run.

    python -m tests.support.servers --libs JARS -- python -m tests.benchmarks.speed.guard

`.ci/run` calls it. It fails if the engine or the worker takes over 15% more of stock Faust's CPU
time per event than `guard.json` says. `--write` replaces the shares in that file by the measured
ones: after a gain, and after a loss that is accepted.

    engine    engine and Redis store, without Kafka, one checkpoint per round
    worker    `xm worker --role watch`, from Kafka's first event until Redis has everything
    faust     contenders/faust_agent.py

In each round engine and worker process the same simulated requests, on another day and from other
keys. The first round is not counted, because it loads code. CPU time does not grow with the wait
for a core, but with what others do to its caches. So each gets the least of several rounds, and
rounds are added before the guard fails.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import redis

from monitor.config import Settings
from monitor.store.redis import PARTITION_KEY
from pipelines.traffic.producer import Message, send
from tests.benchmarks.speed.engine import Replica
from tests.benchmarks.speed.measure import (
    contender,
    cpu_seconds,
    default_worker,
    parser,
    print_machine,
    print_table,
)
from tests.benchmarks.speed.stream import Stream
from tests.support.programs import Worker
from tests.support.workers import load_partition, until

SHARES = Path(__file__).with_suffix(".json")  # of stock Faust's CPU time per event
_LOSS = 0.15
_FAUST_EVENTS, _KEYS = 8_000, 3_000  # per round
_ROUNDS, _MORE_ROUNDS = 4, 6

Costs = dict[str, float]  # CPU-seconds per event


def main() -> None:
    options = parser(__doc__ or "", "kafka", "redis")
    options.add_argument("--write", action="store_true", help=f"write {SHARES.name}")
    chosen = options.parse_args()
    committed: Costs = json.loads(SHARES.read_text()) if SHARES.exists() else {}
    best: Costs = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, spent in enumerate(_rounds(Path(folder), chosen.kafka, chosen.redis)):
            print("  ".join(f"{k} {1e6 * v:.1f} µs" for k, v in spent.items()), flush=True)
            best = {name: min(each, best.get(name, each)) for name, each in spent.items()}
            enough = not chosen.write and not _losses(best, committed)
            if number + 1 >= (_ROUNDS if enough else _ROUNDS + _MORE_ROUNDS):
                break
    shares = _shares(best)
    if chosen.write:
        SHARES.write_text(json.dumps({k: round(v, 4) for k, v in shares.items()}, indent=4) + "\n")
    print_machine(chosen.redis, chosen.kafka)
    columns = ["", "CPU, µs per event", "share of stock Faust's", "committed share"]
    rows = [
        [name, f"{1e6 * best[name]:.1f}", f"{share:.4f}", committed.get(name, "none")]
        for name, share in shares.items()
    ]
    print_table(columns, [*rows, ["faust", f"{1e6 * best['faust']:.1f}", 1, ""]])
    if not chosen.write and (losses := _losses(best, committed)):
        raise SystemExit("\n".join(losses))


def _shares(costs: Costs) -> Costs:
    return {name: cost / costs["faust"] for name, cost in costs.items() if name != "faust"}


def _losses(costs: Costs, committed: Costs) -> list[str]:
    """What takes too much more than committed, a sentence each."""
    return [
        f"The {name} takes {share / committed[name] - 1:.0%} more CPU time per event than "
        f"{SHARES.name} says. Mend it, or accept the loss with --write."
        for name, share in _shares(costs).items()
        if share > committed.get(name, share) * (1 + _LOSS)
    ]


def _rounds(folder: Path, kafka: str, redis_url: str) -> Iterator[Costs]:
    """The costs of one round after the other, on one engine and one worker."""
    replica = Replica(Settings(identity_secret="known to this benchmark only"), redis_url)
    worker = default_worker(folder, kafka, redis_url)
    worker.options = ["--role", "watch"]
    stream = Stream(None, _KEYS)
    with worker:
        for number in count():
            batches = stream.lap(number)
            values = [request.value for batch in batches for request in batch]
            spent = {
                "engine": 1 / replica.observe(values).per_cpu,
                "worker": _cost_of_worker(worker, batches, (number + 1) * len(values)),
            }
            if number:
                faust = contender("faust_agent", worker, _FAUST_EVENTS)
                yield {**spent, "faust": 1 / faust.per_cpu}


def _cost_of_worker(worker: Worker, batches: list[list[Message]], end: int) -> float:
    """CPU-seconds per event of a worker that finds more requests in its topic, `end` in all."""
    assert worker.process is not None
    topic = worker.requests
    names = [f"{PARTITION_KEY}{topic}:{n}" for n in range(worker.settings.topics.partitions)]
    with redis.from_url(worker.settings.redis_url) as store:
        worker.pause()
        before = cpu_seconds(worker.process.pid)
        sent = asyncio.run(send(iter(batches), worker.settings.kafka, topic)).acknowledged
        worker.resume()
        until(lambda: sum(load_partition(each).offset for each in store.mget(names)) >= end)
        return (cpu_seconds(worker.process.pid) - before) / sent


if __name__ == "__main__":
    main()
