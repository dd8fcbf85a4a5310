"""Cost per event and memory per key with 10,000 to a million keys.

    python -m tests.benchmarks.speed.scale --redis URL

Engine and Redis store, without Kafka. First, each key sends one event; the growth of Redis divided
by the number of keys is the memory per key. Then rounds of events follow, with a checkpoint after
every 40,000, about as many as a worker observes between checkpoints. As in a worker, a second
thread writes it while the engine observes. Keys are drawn

    skewed   by Zipf's law with exponent 0.99, as in the YCSB benchmark
    uniform  with equal probability: the worst case, because with a million keys nearly every event
             changes a record that is unchanged since the last checkpoint

Times are medians of the rounds and of this process only; the CPU time of Redis is separate.

Everything is measured twice on the same records: with room for all of them in the table, and with
room for 100,000, so that rows are loaded from Redis and dropped.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np

from monitor.batch import Batch
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import from_settings
from monitor.store.base import Checkpoint
from monitor.store.redis import RedisStore
from pipelines.traffic.producer import Message
from tests.benchmarks.speed.measure import emptied, parser, print_machine, print_table
from tests.benchmarks.speed.stream import Stream

_PARTITION = "scale:0"
_BATCH_SIZE = 4_000  # messages
_CHECKPOINT = 40_000  # events
_SMALL_TABLE = 100_000  # rows
_DRAWN = ("skewed", "uniform")
_BEGIN, _RATE = 1_772_409_600.0, 100.0  # event time: seconds since the epoch, events per second


class Round(NamedTuple):
    """Cost per event: CPU, elapsed and Redis CPU time in microseconds, and records written."""

    cpu: float
    wall: float
    redis: float
    written: float


Results = dict[tuple[str, int], Round]  # by draw and number of keys


class Benchmark:
    """An engine with a Redis store, and the stream that it observes."""

    def __init__(self, url: str, keys: int, stream: Stream) -> None:
        self._keys, self._stream = keys, stream
        self._url = url
        self._redis = emptied(url)
        self._number, self._written = 0, 0
        self._thread = ThreadPoolExecutor(1)
        self._writing: tuple[Checkpoint, Future[None]] | None = None
        rng = np.random.default_rng(keys)
        shares = np.cumsum(np.arange(1, keys + 1) ** -0.99)
        self._draw: dict[str, Callable[[], list[int]]] = {
            "skewed": lambda: np.searchsorted(
                shares, rng.random(_CHECKPOINT) * shares[-1]
            ).tolist(),
            "uniform": lambda: rng.integers(keys, size=_CHECKPOINT).tolist(),
        }
        self.start(keys + keys // 8 + 10_000)

    def start(self, rows: int) -> None:
        """Start with an empty table at the store's last checkpoint."""
        settings = Settings(rows=rows, identity_secret="known to this benchmark only")
        self._store = RedisStore(self._url, settings.record_days * 86_400, timeout=60)
        self._engine = Engine(settings, from_settings(settings), self._store)
        self._engine.assign(_PARTITION)

    def load_all(self) -> float:
        """Send one event per key; return the bytes of Redis memory per key."""
        before = self._redis.info("memory")["used_memory"]
        for start in range(0, self._keys, _CHECKPOINT):
            self._observe(range(start, min(start + _CHECKPOINT, self._keys)))
        self._finish()
        time.sleep(1)  # for Redis to free its buffers
        return float((self._redis.info("memory")["used_memory"] - before) / self._keys)

    def round(self, drawn: str, events: int) -> Round:
        """Observe `events` events of keys drawn one way."""
        written, server = self._written, self._server_seconds()
        spent = np.zeros(2)
        for _ in range(0, events, _CHECKPOINT):
            spent += self._observe(self._draw[drawn]())
        spent += _timed(self._finish)
        server = self._server_seconds() - server
        cpu, wall = spent.tolist()
        micro = 1e6 / events
        written = self._written - written
        return Round(cpu * micro, wall * micro, server * micro, written / events)

    def _observe(self, keys: range | list[int]) -> tuple[float, float]:
        """Observe one event per key and take a checkpoint; return CPU-seconds and seconds."""
        values = [message.value for message in self._messages(keys)]
        return _timed(partial(self._observe_values, values))

    def _observe_values(self, values: list[bytes]) -> None:
        partition = self._engine.partitions[_PARTITION]
        for start in range(0, len(values), _BATCH_SIZE):
            part = values[start : start + _BATCH_SIZE]
            offsets = range(partition.offset, partition.offset + len(part))
            self._engine.observe(Batch(_PARTITION, offsets, part))
            if self._engine.table.crowded:
                self._checkpoint()
        self._checkpoint()

    def _messages(self, keys: range | list[int]) -> Iterator[Message]:
        for key in keys:
            ts = _BEGIN + self._number / _RATE
            yield self._stream.message(self._number, ts, f"sk-{key:07d}")
            self._number += 1

    def _checkpoint(self) -> None:
        """Have the second thread write a checkpoint, when it has written the one before."""
        self._finish()
        checkpoint = self._engine.snapshot()
        self._writing = checkpoint, self._thread.submit(self._store.commit, checkpoint)
        self._written += len(checkpoint.records)

    def _finish(self) -> None:
        """Wait until the checkpoint that is being written is in Redis."""
        if self._writing is not None:
            checkpoint, written = self._writing
            written.result()
            self._engine.commit(checkpoint)
            self._engine.published(checkpoint)
            self._writing = None

    def _server_seconds(self) -> float:
        used = self._redis.info("cpu")
        return float(used["used_cpu_user"] + used["used_cpu_sys"])


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    """The CPU-seconds and the seconds of some work."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    options = parser(__doc__ or "", "redis")
    options.add_argument("--keys", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    options.add_argument("--events", type=int, default=200_000, help="per round")
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    events = -(-chosen.events // _CHECKPOINT) * _CHECKPOINT
    stream = Stream(None, 1)
    memory: dict[int, float] = {}
    tables: tuple[Results, Results] = ({}, {})
    for keys in chosen.keys:
        benchmark = Benchmark(chosen.redis, keys, stream)
        memory[keys] = benchmark.load_all()
        for table in tables:
            for drawn in _DRAWN:
                benchmark.round(drawn, _CHECKPOINT)  # warm
                rounds = [benchmark.round(drawn, events) for _ in range(chosen.rounds)]
                table[drawn, keys] = Round(*map(statistics.median, zip(*rounds, strict=True)))
            benchmark.start(_SMALL_TABLE)
    print_machine(chosen.redis)
    print_table(
        ["keys", "bytes of Redis per key"],
        [[f"{k:,}", f"{size:,.0f}"] for k, size in memory.items()],
    )
    for table, room in zip(tables, ("all records", f"{_SMALL_TABLE:,} records"), strict=True):
        print(f"\nThe table has room for {room}; {chosen.rounds} rounds of {events:,} events:\n")
        _show(table, chosen.keys[0])


def _show(table: Results, first: int) -> None:
    rows = []
    for (drawn, keys), found in table.items():
        of = table[drawn, first]
        times = [f"{each:.1f}" for each in found[:3]]
        ratios = [f"{found.cpu / of.cpu:.2f}", f"{found.wall / of.wall:.2f}"]
        rows.append([drawn, f"{keys:,}", *times, f"{found.written:.2f}", *ratios])
    columns = ["drawn", "keys", "CPU, µs per event", "time, µs", "CPU of Redis, µs"]
    columns += [
        "records written per event",
        "CPU, ratio to fewest keys",
        "time, ratio to fewest keys",
    ]
    print_table(columns, sorted(rows, key=lambda row: str(row[0]), reverse=True))


if __name__ == "__main__":
    main()
