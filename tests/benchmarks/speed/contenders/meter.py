"""Count the events of a contender, and end its process when they are measured."""

from __future__ import annotations

import json
import math
import os
import time

SECONDS = 6.0  # maximum time of a measurement
_INTERVAL = 100  # events between readings of the clock


class Meter:
    """Measures from the first event, for a bounded time or to the end of the topic.

    Args:
        events: messages in the topic.
    """

    def __init__(self, events: int) -> None:
        self._events = events
        self._seconds = SECONDS
        self._count = 0
        self._next = 1
        self._begun = self._used = 0.0

    def to_the_end(self) -> None:
        """Start now and read the whole topic, for contenders that fetch many events first."""
        self._seconds = math.inf
        self._check()

    def add(self, count: int = 1) -> None:
        """Count more events; end the process when the measurement is complete."""
        self._count += count
        if self._count >= self._next:
            self._check()

    def _check(self) -> None:
        now, used = time.perf_counter(), time.process_time()
        if not self._begun:
            self._begun, self._used = now, used
        elif now - self._begun > self._seconds or self._count >= self._events:
            print(json.dumps([self._count, now - self._begun, used - self._used]), flush=True)
            os._exit(0)  # skip the shutdown, which is not measured
        self._next = min(self._count + _INTERVAL, self._events)
