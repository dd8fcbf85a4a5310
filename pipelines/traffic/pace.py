"""The pace of sending: when each message is due."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

_DAY = 86_400.0


@dataclass(slots=True)
class Pace:
    """When each message is due: `speed` times as fast as it happened, at most `rate` a second.

    A step of more than a day in event time, forward or back, is taken at once: it is a gap
    between recordings or a broken clock, and nobody waits for it.
    """

    speed: float | None = None
    rate: float | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    _begun: float | None = field(default=None, init=False)
    _count: int = field(default=0, init=False)
    _last: float | None = field(default=None, init=False)  # event time
    _zero: float = field(default=0.0, init=False)  # when, by the clock, event time was zero

    def wait(self, ts: float | None) -> float:
        """Seconds until the next message, of event time `ts`, is due; less than 0: it is late."""
        if self.speed is None and self.rate is None:
            return 0.0
        now = self.clock()
        due = now
        if self.rate is not None:
            self._begun = now if self._begun is None else self._begun
            due = self._begun + self._count / self.rate
            self._count += 1
        if self.speed is not None and ts is not None:
            if self._last is None or abs(ts - self._last) > _DAY:
                self._zero = now - ts / self.speed
            self._last = ts
            due = max(due, self._zero + ts / self.speed)
        return due - now
