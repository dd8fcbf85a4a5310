"""When to send each message: at a multiple of the recorded speed, at a fixed rate, or at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

DAY = 86_400.0  # seconds


@dataclass(slots=True)
class SendSchedule:
    """Computes when each message is due.

    A step of more than a day in event time, forward or back, is not waited for: it is a gap
    between recordings or a clock error.

    Attributes:
        speed: multiple of the recorded speed; `None`: event time does not matter.
        rate: messages per second at most; `None`: no limit.
        clock: the current time in seconds, from any origin.
        sleep: waits for a number of seconds.
    """

    speed: float | None = None
    rate: float | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    _begun: float | None = field(default=None, init=False)
    _count: int = field(default=0, init=False)
    _last: float | None = field(default=None, init=False)  # event time
    _zero: float = field(default=0.0, init=False)  # time on the clock when event time was 0

    def delay(self, ts: float | None) -> float:
        """Seconds until the next message is due, negative if it is late.

        Args:
            ts: its event time in seconds since the epoch; `None` if unknown.
        """
        if self.speed is None and self.rate is None:
            return 0.0
        now = self.clock()
        due = now
        if self.rate is not None:
            self._begun = now if self._begun is None else self._begun
            due = self._begun + self._count / self.rate
            self._count += 1
        if self.speed is not None and ts is not None:
            if self._last is None or abs(ts - self._last) > DAY:
                self._zero = now - ts / self.speed
            self._last = ts
            due = max(due, self._zero + ts / self.speed)
        return due - now
