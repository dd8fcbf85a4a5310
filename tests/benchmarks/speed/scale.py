"""Cost of an event and bytes of a key as keys grow, from 10,000 to a million.

    python -m tests.benchmarks.speed.scale --redis URL

Engine and Redis store, without Kafka. Every key is seen once; what Redis has grown by then,
divided by the keys, is the memory of a key with everything counted. Then events come in rounds, a
checkpoint after every 40,000, about what a worker observes from one to the next. Keys are drawn

    skewed   by Zipf's law with the exponent 0.99, which the YCSB benchmark takes for its requests
    evenly   all as likely as the next: the worst case, for at a million keys nearly every event
             changes a record that no other has changed since the last checkpoint

Time is the median of rounds, of this process alone; the CPU that Redis uses meanwhile is beside it.

All of it once with room for all records in the table, and once, on the same records, with room for
100,000, so that rows are loaded from Redis and dropped.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from monitor.batch import Batch
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import from_settings
from monitor.store.redis import RedisStore
from pipelines.traffic.producer import Message
from tests.benchmarks.speed.measure import emptied, parser, show, show_machine
from tests.benchmarks.speed.stream import Stream

_PARTITION = "scale:0"
_TOGETHER = 4_000  # messages a batch
_CHECKPOINT = 40_000  # events
_BOUND = 100_000  # rows
_DRAWN = ("skewed", "evenly")
_BEGIN, _RATE = 1_772_409_600.0, 100.0  # event time: seconds since the epoch, events a second


class Round(NamedTuple):
    """Of an event, in microseconds."""

    cpu: float
    wall: float
    redis: float
    written: float  # records


Found = dict[tuple[str, int], Round]  # by draw and number of keys


class Run:
    """An engine on a store, and the stream that it observes."""

    def __init__(self, url: str, keys: int, stream: Stream) -> None:
        self._keys, self._stream = keys, stream
        self._url = url
        self._redis = emptied(url)
        self._number, self._written = 0, 0
        dice = np.random.default_rng(keys)
        shares = np.cumsum(np.arange(1, keys + 1) ** -0.99)
        self._draw: dict[str, Callable[[], list[int]]] = {
            "skewed": lambda: np.searchsorted(
                shares, dice.random(_CHECKPOINT) * shares[-1]
            ).tolist(),
            "evenly": lambda: dice.integers(keys, size=_CHECKPOINT).tolist(),
        }
        self.start(keys + keys // 8 + 10_000)

    def start(self, rows: int) -> None:
        """Begin with an empty table, from the store's last checkpoint on."""
        settings = Settings(rows=rows, identity_secret="known to this benchmark only")
        self._store = RedisStore(self._url, settings.record_days * 86_400, timeout=60)
        self._engine = Engine(settings, from_settings(settings), self._store)
        self._engine.assign(_PARTITION)

    def see_all(self) -> float:
        """Let every key be seen once; bytes of Redis's memory a key."""
        before = self._redis.info("memory")["used_memory"]
        for start in range(0, self._keys, _CHECKPOINT):
            self._observe(range(start, min(start + _CHECKPOINT, self._keys)))
        time.sleep(1)  # buffers empty
        return float((self._redis.info("memory")["used_memory"] - before) / self._keys)

    def round(self, drawn: str, events: int) -> Round:
        """Observe so many events of keys drawn that way."""
        written, server = self._written, self._server_seconds()
        spent = np.zeros(2)
        for _ in range(0, events, _CHECKPOINT):
            spent += self._observe(self._draw[drawn]())
        server = self._server_seconds() - server
        cpu, wall = spent.tolist()
        micro = 1e6 / events
        written = self._written - written
        return Round(cpu * micro, wall * micro, server * micro, written / events)

    def _observe(self, keys: range | list[int]) -> tuple[float, float]:
        """Events of these keys and a checkpoint; CPU-seconds and seconds that they took."""
        values = [message.value for message in self._messages(keys)]
        cpu, wall = time.process_time(), time.perf_counter()
        partition = self._engine.partitions[_PARTITION]
        for start in range(0, len(values), _TOGETHER):
            part = values[start : start + _TOGETHER]
            offsets = range(partition.offset, partition.offset + len(part))
            self._engine.observe(Batch(_PARTITION, offsets, part))
            if self._engine.table.crowded:
                self._checkpoint()
        self._checkpoint()
        return time.process_time() - cpu, time.perf_counter() - wall

    def _messages(self, keys: range | list[int]) -> Iterator[Message]:
        for key in keys:
            ts = _BEGIN + self._number / _RATE
            yield self._stream.message(self._number, ts, f"sk-{key:07d}")
            self._number += 1

    def _checkpoint(self) -> None:
        checkpoint = self._engine.snapshot()
        self._store.commit(checkpoint)
        self._engine.commit(checkpoint)
        self._engine.published(checkpoint)
        self._written += len(checkpoint.records)

    def _server_seconds(self) -> float:
        used = self._redis.info("cpu")
        return float(used["used_cpu_user"] + used["used_cpu_sys"])


def main() -> None:
    options = parser(__doc__ or "", "redis")
    options.add_argument("--keys", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    options.add_argument("--events", type=int, default=200_000, help="a round")
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    events = -(-chosen.events // _CHECKPOINT) * _CHECKPOINT
    stream = Stream(None, 1)
    memory: dict[int, float] = {}
    tables: tuple[Found, Found] = ({}, {})
    for keys in chosen.keys:
        run = Run(chosen.redis, keys, stream)
        memory[keys] = run.see_all()
        for table in tables:
            for drawn in _DRAWN:
                run.round(drawn, _CHECKPOINT)  # warm
                rounds = [run.round(drawn, events) for _ in range(chosen.rounds)]
                table[drawn, keys] = Round(*map(statistics.median, zip(*rounds, strict=True)))
            run.start(_BOUND)
    show_machine(chosen.redis)
    show(
        ["keys", "bytes of Redis a key"], [[f"{k:,}", f"{size:,.0f}"] for k, size in memory.items()]
    )
    for table, room in zip(tables, ("all records", f"{_BOUND:,} records"), strict=True):
        print(f"\nThe table has room for {room}; {chosen.rounds} rounds of {events:,} events:\n")
        _show(table, chosen.keys[0])


def _show(table: Found, first: int) -> None:
    rows = []
    for (drawn, keys), found in table.items():
        of = table[drawn, first]
        times = [f"{each:.1f}" for each in found[:3]]
        ratios = [f"{found.cpu / of.cpu:.2f}", f"{found.wall / of.wall:.2f}"]
        rows.append([drawn, f"{keys:,}", *times, f"{found.written:.2f}", *ratios])
    columns = ["drawn", "keys", "CPU, µs an event", "time, µs", "CPU of Redis, µs"]
    columns += ["records written an event", "CPU to the fewest keys", "time to the fewest keys"]
    show(columns, sorted(rows, key=lambda row: str(row[0]), reverse=True))


if __name__ == "__main__":
    main()
