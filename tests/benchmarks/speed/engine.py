"""Cost per event of the engine and its Redis store, without Kafka.

    python -m tests.benchmarks.speed.engine --redis URL [--traffic FILE [--as-recorded]]

Requests are observed in batches of 4,000, with a checkpoint after every ten of them, about as many
as a worker observes between checkpoints. With `--as-recorded` a recording keeps its keys.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

from monitor.batch import Batch
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import from_settings
from monitor.store.redis import RedisStore
from tests.benchmarks.speed.measure import Cost, emptied, parser, print_machine, print_table
from tests.benchmarks.speed.stream import requests_of

_PARTITION = "engine:0"
_BATCH_SIZE = 4_000  # messages
_BATCHES = 10  # per checkpoint


class Replica:
    """An engine on an emptied Redis database."""

    def __init__(self, settings: Settings, redis_url: str) -> None:
        emptied(redis_url).close()
        self._store = RedisStore(redis_url, settings.record_seconds, timeout=60)
        self._engine = Engine(settings, from_settings(settings), self._store)
        self._engine.assign(_PARTITION)

    def observe(self, values: Sequence[bytes]) -> Cost:
        """Observe requests and store everything; without the CPU time of Redis."""
        partition = self._engine.partitions[_PARTITION]
        begun, used = time.perf_counter(), time.process_time()
        for number, start in enumerate(range(0, len(values), _BATCH_SIZE), 1):
            part = list(values[start : start + _BATCH_SIZE])
            offsets = range(partition.offset, partition.offset + len(part))
            self._engine.observe(Batch(_PARTITION, offsets, part))
            if number % _BATCHES == 0 or self._engine.table.crowded:
                self._checkpoint()
        self._checkpoint()
        return Cost(len(values), time.perf_counter() - begun, time.process_time() - used)

    def _checkpoint(self) -> None:
        checkpoint = self._engine.snapshot()
        self._store.commit(checkpoint)
        self._engine.commit(checkpoint)
        self._engine.published(checkpoint)


def main() -> None:
    options = parser(__doc__ or "", "redis")
    options.add_argument("--traffic", help="requests, one per line; simulated by default")
    options.add_argument("--as-recorded", action="store_true", help="keep the keys of --traffic")
    options.add_argument("--events", type=int, default=300_000)
    options.add_argument("--keys", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    stream = requests_of(chosen.traffic, chosen.keys, chosen.as_recorded, chosen.events)
    values = [each.value for batch in stream for each in batch]
    settings = Settings(identity_secret="known to this benchmark only")
    costs = [Replica(settings, chosen.redis).observe(values) for _ in range(chosen.rounds)]
    print_machine(chosen.redis)
    micros = [1e6 / each.per_cpu for each in costs]
    print_table(
        ["events", "CPU, µs per event", "least", "events per CPU-second"],
        [[f"{len(values):,}", f"{median(micros):.1f}", f"{min(micros):.1f}",
          f"{1e6 / median(micros):,.0f}"]],
    )  # fmt: skip


if __name__ == "__main__":
    main()
