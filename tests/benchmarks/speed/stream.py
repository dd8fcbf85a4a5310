"""Requests for the benchmarks, recorded or simulated, spread over a given number of keys.

A request keeps everything but its key. The requests of a busy recorded key are dealt to several
keys in turn, so that all keys are about equally busy and each still sends one customer's prompts.
A simulated request, always an ordinary one, gets a hash of its number as key. Consecutive requests
have different keys, the worst case for a system with state per key. If requests are shorter than
1 KB on average, an unused field pads them. The recorded requests repeat, each time some days later.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate, chain, count, islice
from typing import Any

import msgspec

from monitor.records.profile import DAY
from pipelines.simulation.scenario import Scenario, Simulation
from pipelines.traffic.files import LineFile
from pipelines.traffic.producer import Message

SIZE = 1024  # bytes of a request, on average at least
_LAP = 400_000  # recorded requests in memory, which then repeat
_BATCH_SIZE = 2_000  # messages
_SIMULATED = 40_000  # requests


class Stream:
    """An endless stream of requests.

    Args:
        path: requests in the native format, one per line, in time order; `None`: simulated.
        keys: number of keys.
    """

    def __init__(self, path: str | None, keys: int) -> None:
        self.keys = keys
        self._times: list[float] = []
        self._bodies: list[bytes] = []  # JSON of a request after its time and key
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
        self._span = DAY * (1 + (self._times[-1] - self._times[0]) // DAY)

    def take(self, number: int) -> Iterator[list[Message]]:
        """The first `number` requests, in batches."""
        return batches(islice(self._recorded(), number), _BATCH_SIZE)

    def message(self, number: int, ts: float, key: str | None = None) -> Message:
        """The request with a number, at another time and optionally with another key."""
        place = number % len(self._bodies)
        key = key or self._key(number)
        body = self._bodies[place]
        return Message(key.encode(), self._head(ts, key) + body, ts)

    def lap(self, number: int) -> list[list[Message]]:
        """All requests once, in batches, at later times and from other keys in each lap."""
        first = number * len(self._times)
        messages = (
            self.message(first + at, ts + number * self._span, f"{self._key(first + at)}-{number}")
            for at, ts in enumerate(self._times)
        )
        return list(batches(messages, _BATCH_SIZE))

    def _recorded(self) -> Iterator[Message]:
        for lap in count():
            for at, ts in enumerate(self._times):
                yield self.message(lap * len(self._times) + at, ts + lap * self._span)

    def _key(self, number: int) -> str:
        if self._owners:
            return f"sk-{self._owners[number % len(self._owners)]:05d}"
        return f"sk-{number * 2_654_435_761 % (1 << 32) % self.keys:05d}"

    @staticmethod
    def _head(ts: float, key: str) -> bytes:
        return b'{"ts":%.3f,"api_key":"%b",' % (ts, key.encode())


def requests_of(
    path: str | None, keys: int, as_recorded: bool, number: int
) -> Iterator[list[Message]]:
    """The first requests of a stream, or with `as_recorded` of a file as it is, in batches."""
    if not as_recorded:
        return Stream(path, keys).take(number)
    if path is None:
        raise SystemExit("--as-recorded needs a recording: name it with --traffic.")
    return batches(islice(_lines(path), number), _BATCH_SIZE)


def _lines(path: str) -> Iterator[Message]:
    decoder = msgspec.json.Decoder(_Head)
    with LineFile(path) as file:
        for line in chain.from_iterable(file.batches()):
            head = decoder.decode(line)
            yield Message(head.api_key.encode(), line, head.ts)


class _Head(msgspec.Struct):
    api_key: str
    ts: float


def _recorded(path: str) -> Iterator[dict[str, Any]]:
    with LineFile(path) as file:
        lines = chain.from_iterable(file.batches())
        yield from (msgspec.json.decode(line) for line in islice(lines, _LAP))


def _spread(owners: list[str], keys: int) -> list[int]:
    """The new key of each request, of about `keys` keys; owners share none."""
    share = {owner: max(1, round(keys * n / len(owners))) for owner, n in Counter(owners).items()}
    first = dict(zip(share, accumulate(share.values(), initial=0), strict=False))
    counts: Counter[str] = Counter()
    spread = []
    for owner in owners:
        spread.append(first[owner] + counts[owner] % share[owner])
        counts[owner] += 1
    return spread


def _simulated() -> Iterator[dict[str, Any]]:
    return islice(Simulation(Scenario(keys=2_000, attacks=False)).events(), _SIMULATED)


def batches(messages: Iterator[Message], size: int) -> Iterator[list[Message]]:
    """Messages in lists of `size`, as for `send`."""
    while batch := list(islice(messages, size)):
        yield batch
