"""Event time of one partition, robust against clocks that run ahead.

A maximum of timestamps would do if all clocks agreed. But one clock that is an hour ahead would
then move the watermark by an hour, and every other key's requests would be rejected as late for
an hour. So timestamps are compared with those of the last SOURCES different keys:

- **Reference**: the median of their latest timestamps. An event is late if it is more than
  LATENESS behind the reference. It still counts, but at the watermark: a client that reads its
  answer slowly must not escape because its request is logged late. One key with a fast clock does
  not move a median. Late events count in the median, so keys that were outvoted by fast clocks are
  late only until they outvote them: a wrong reference corrects itself.
- **Watermark**: the highest timestamp, but at most AHEAD beyond the median of the keys seen in
  the last RECENT events. It never falls. It ends epochs and days.
- **Future**: an event is from the future if it is more than MAX_AHEAD ahead of its arrival in
  Kafka and of the median of those recent keys. The arrival is part of the stream, so a worker
  that catches up after an outage decides as one that kept up. Where no arrival is recorded, as in
  a file, the clock of this process is used.

In traffic without wrong clocks the watermark is the maximum, also after a gap: the first SOURCES
/ 2 keys after it move the median. All of it follows from the stream alone, event by event, so
results do not depend on batches or restarts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.kernels.jit import jit
from monitor.requests.decoder import MAX_AHEAD

SOURCES = 9  # different keys whose timestamps are compared
_ALWAYS = 1 << 62  # events; no key is silent for longer
RECENT = 256  # events after which a silent key no longer holds the watermark back
LATENESS = 600.0  # seconds behind the reference that an event may be
AHEAD = 300.0  # seconds beyond other keys' time that one key can move the watermark

IN_TIME, LATE, FUTURE = 0, 1, 2

Floats = npt.NDArray[np.float64]
Source = tuple[str, float, int]


class StreamClock:
    """The event time of one partition. Immutable: `after` returns another one.

    Args:
        watermark: the event time reached, epoch seconds; 0 before the first event.
        sources: the last different keys, the latest first: name, latest timestamp, and the number
            of events since it was seen.
    """

    def __init__(self, watermark: float = 0.0, sources: Sequence[Source] = ()) -> None:
        self.watermark = watermark
        self.sources = list(sources)

    def without_names(self, keys: Collection[str]) -> StreamClock:
        """The same clock, in which some keys have no name. Their latest times still count."""
        sources = [
            (f"forgotten {i}" if key in keys else key, seconds, events)
            for i, (key, seconds, events) in enumerate(self.sources)
        ]
        return StreamClock(self.watermark, sources)

    def after(
        self, ts: Floats, keys: Sequence[str], latest: Floats
    ) -> tuple[StreamClock, npt.NDArray[np.uint8], Floats]:
        """Place n events in time, in stream order.

        Args:
            ts: `(n,) float64`, their timestamps, epoch seconds.
            keys: the n keys that sent them.
            latest: `(n,) float64`, the latest timestamp that each may have by its arrival.

        Returns:
            the clock after them; `(n,) uint8`, IN_TIME, LATE or FUTURE; and `(n + 1,) float64`,
            the watermark before each event and after the last.
        """
        numbers = {key: number for number, (key, _, _) in enumerate(self.sources)}
        codes = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
        source, age = np.full(SOURCES, -1, np.int64), np.zeros(SOURCES, np.int64)
        times = np.zeros(SOURCES)
        for i, (_, seconds, events) in enumerate(self.sources):
            source[i], times[i], age[i] = i, seconds, events
        places = np.zeros(len(keys), np.uint8)
        watermarks = np.full(len(keys) + 1, self.watermark)
        _advance(ts, codes, latest, source, times, age, places, watermarks)
        names = list(numbers)
        sources = [
            (names[source[i]], float(times[i]), int(age[i]))
            for i in np.argsort(age, kind="stable").tolist()
            if source[i] >= 0
        ]
        return StreamClock(float(watermarks[-1]), sources), places, watermarks


@jit
def _advance(
    ts: Any,
    keys: Any,
    latest: Any,
    source: Any,
    times: Any,
    age: Any,
    places: Any,
    watermarks: Any,
) -> None:
    """Place n events in time.

    Args:
        ts: `(n,) float64`, epoch seconds.
        keys: `(n,) int64`, a number for each key.
        latest: `(n,) float64`, epoch seconds.
        source: `(SOURCES,) int64`, the last different keys, -1 for none; updated.
        times: `(SOURCES,) float64`, their latest timestamps; updated.
        age: `(SOURCES,) int64`, events since each was seen; updated.
        places: `(n,) uint8`, receives IN_TIME, LATE or FUTURE.
        watermarks: `(n + 1,) float64`, the first is given, the others are written.
    """
    room = np.empty(SOURCES, np.float64)
    for e in range(len(ts)):
        t, watermark = ts[e], watermarks[e]
        watermarks[e + 1] = watermark
        if t > latest[e] and t > _median(source, times, age, RECENT, 0, room) + MAX_AHEAD:
            places[e] = FUTURE
            continue
        late = t < watermark - LATENESS and t < _reference(source, times, age, keys[e], room)
        places[e] = LATE if late else IN_TIME
        _enter(source, times, age, keys[e], t)
        if t > watermark:
            limit = _median(source, times, age, RECENT, 0, room) + AHEAD
            watermarks[e + 1] = max(watermark, min(t, limit))


@jit
def _reference(source: Any, times: Any, age: Any, key: Any, room: Any) -> float:
    """The time before which an event of a key, int64, is late. Arrays as in `_advance`; `room` is
    `(SOURCES,) float64`, scratch."""
    if source[0] < 0:  # nothing is known but the watermark
        return float(np.inf)
    if source[1] < 0 and source[0] != key:  # two clocks disagree, and either may be right
        return float(-np.inf)
    return float(_median(source, times, age, _ALWAYS, 1, room) - LATENESS)


@jit
def _median(source: Any, times: Any, age: Any, events: int, lower: int, room: Any) -> float:
    """The median time of the keys seen in the last `events` events, -inf if there are none.

    Of an even number of keys it is the upper median, or the lower one if `lower` is 1. Arrays as in
    `_advance`; `room` is `(SOURCES,) float64`, scratch.
    """
    n = 0
    for i in range(SOURCES):
        if source[i] >= 0 and age[i] <= events:
            at = n
            while at > 0 and room[at - 1] > times[i]:
                room[at] = room[at - 1]
                at -= 1
            room[at] = times[i]
            n += 1
    return float(room[(n - lower) // 2]) if n > 0 else float(-np.inf)


@jit
def _enter(source: Any, times: Any, age: Any, key: Any, t: float) -> None:
    """Enter an event of a key, int64: a new one takes a free place, or that of the least recent
    key. Arrays as in `_advance`."""
    at = -1
    for i in range(SOURCES):
        if source[i] == key:
            at = i
    if at < 0:
        at = 0
        for i in range(SOURCES):
            if source[i] < 0:
                at = i
                break
            if age[i] > age[at]:
                at = i
        source[at], times[at] = key, t
    for i in range(SOURCES):
        age[i] += 1
    age[at] = 0
    times[at] = max(times[at], t)
