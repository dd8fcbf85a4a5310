"""Requests for the benchmarks: a recorded day's or simulated ones, under as many keys as asked.

A request keeps everything but its key. Of a recording, a busy key becomes several, each of which
has every so many-th of its requests, so that all keys are about equally busy and each still asks
what one customer asks. Simulated requests, which are ordinary ones, have a hash of their number for
a key. Requests that follow one another share none: the worst case for whoever keeps state by key.
Where requests are shorter than 1 KB on average, each gets a field that nobody reads,
so that they no longer are. Those of a file go round, each time some days later than the last.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate, chain, count, islice
from typing import Any

import msgspec

from pipelines.simulation.scenario import Scenario, Simulation
from pipelines.traffic.files import LineFile
from pipelines.traffic.producer import Message

SIZE = 1024  # bytes of a request, on average at least
_LAP = 400_000  # requests that are kept in memory, and then go round
_SIMULATED = 40_000
_DAY = 86_400.0


class Stream:
    """Requests without end.

    Args:
        path: requests in the native format, one a line, in time order; `None`: simulated ones.
        keys: number of keys that they are from.
    """

    def __init__(self, path: str | None, keys: int) -> None:
        self.keys = keys
        self._times: list[float] = []
        self._bodies: list[bytes] = []  # what follows time and key in a request's JSON
        owners: list[str] = []
        for request in _simulated() if path is None else _recorded(path):
            self._times.append(request.pop("ts"))
            owners.append(request.pop("api_key"))
            self._bodies.append(msgspec.json.encode(request)[1:])
        self._owners = [] if path is None else _spread(owners, keys)
        short = (
            SIZE - int(statistics.fmean(map(len, self._bodies))) - len(self._head(0.0, "sk-00000"))
        )
        if short > 0:
            padding = msgspec.json.encode({"padding": "x" * (short - len('"padding":"",'))})
            self._bodies = [padding[1:-1] + b"," + body for body in self._bodies]
        self._span = _DAY * (1 + (self._times[-1] - self._times[0]) // _DAY)

    def take(self, number: int) -> Iterator[list[Message]]:
        """So many requests as they were recorded, in batches, from the first on."""
        return batches(islice(self._recorded(), number), 2_000)

    def message(self, number: int, ts: float, key: str | None = None) -> Message:
        """The request of a number, at a time and perhaps under a key of its own."""
        place = number % len(self._bodies)
        if self._owners:
            key = key or f"sk-{self._owners[place]:05d}"
        key = key or f"sk-{number * 2_654_435_761 % (1 << 32) % self.keys:05d}"
        body = self._bodies[place]
        return Message(key.encode(), self._head(ts, key) + body, ts)

    def _recorded(self) -> Iterator[Message]:
        for lap in count():
            for at, ts in enumerate(self._times):
                yield self.message(lap * len(self._times) + at, ts + lap * self._span)

    @staticmethod
    def _head(ts: float, key: str) -> bytes:
        return b'{"ts":%.3f,"api_key":"%b",' % (ts, key.encode())


def _recorded(path: str) -> Iterator[dict[str, Any]]:
    with LineFile(path) as file:
        lines = chain.from_iterable(file.batches())
        yield from (msgspec.json.decode(line) for line in islice(lines, _LAP))


def _spread(owners: list[str], keys: int) -> list[int]:
    """For each request one of about so many keys, of which no two owners share any."""
    share = {owner: max(1, round(keys * n / len(owners))) for owner, n in Counter(owners).items()}
    first = dict(zip(share, accumulate(share.values(), initial=0), strict=False))
    turns: Counter[str] = Counter()
    spread = []
    for owner in owners:
        spread.append(first[owner] + turns[owner] % share[owner])
        turns[owner] += 1
    return spread


def _simulated() -> Iterator[dict[str, Any]]:
    return islice(Simulation(Scenario(keys=2_000, attacks=False)).events(), _SIMULATED)


def batches(messages: Iterator[Message], size: int) -> Iterator[list[Message]]:
    """Messages in lists, as `send` takes them."""
    while batch := list(islice(messages, size)):
        yield batch
