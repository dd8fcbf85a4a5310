"""What drift and the series of flagged subjects cost: `python -m tests.benchmarks.speed.gauges`.

They are computed in the thread that observes requests, at most once in 2 s, and so rarely that they
take at most half a percent of its time (`pipelines/worker/watch.py`).
"""

from __future__ import annotations

import statistics
import time

from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.metrics import Metrics
from monitor.store.memory import MemoryStore

PARTITIONS, REPEATS = 8, 9
FLAGGED = (0, 300, 100_000)


def main() -> None:
    metrics, store = Metrics(), MemoryStore()
    engine = Engine(Settings(), Identity(b"0123456789abcdef"), store, metrics=metrics)
    partitions = [engine.assign(f"llm.requests:{number}") for number in range(PARTITIONS)]
    print("flagged subjects   CPU per update   series of the process")
    for flagged in FLAGGED:
        for number, partition in enumerate(partitions):
            names = [f"k_{i:024x}" for i in range(number, flagged, PARTITIONS)]
            partition.alerted = {name: [("combined", "critical")] for name in names}
            engine.table.rows(store.names(partition.name, names[:200]))
        costs = []
        for _ in range(REPEATS):
            begun = time.thread_time()
            engine.update_metrics()
            costs.append(time.thread_time() - begun)
        series = sum(len(family.samples) for family in metrics.registry.collect())
        print(f"{flagged:>16,}   {1e3 * statistics.median(costs):>11.2f} ms   {series:>21,}")


if __name__ == "__main__":
    main()
