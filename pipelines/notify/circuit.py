"""A circuit: after some failures in a row a receiver counts as down, and is asked rarely.

The pause between two attempts doubles up to a minute, and is as long as the receiver asks for in
`Retry-After`. The first success closes the circuit.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from monitor.backoff import pauses

_OPENS_AFTER = 3  # failures in a row
_PAUSES = 0.25, 60.0  # seconds between attempts, the first and the longest
_LONGEST_RETRY_AFTER = 600.0  # seconds

log = logging.getLogger(__name__)


class Clock:
    """The wall clock, in seconds since the epoch, and pauses by it."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Circuit:
    """The failures of one receiver.

    Args:
        name: of the receiver.
        up: a gauge, 0 while the circuit is open.
        clock: tells how long the receiver was away.

    Attributes:
        reason: of the latest failure, empty if the last attempt succeeded.
        accepted_at: of the latest success, epoch seconds; 0 before the first.
    """

    def __init__(self, name: str, up: Any, clock: Clock) -> None:
        self._name, self._up, self._clock = name, up, clock
        self._failures, self._since = 0, 0.0
        self._pauses = pauses(*_PAUSES)
        self.reason, self.accepted_at = "", 0.0
        up.set(1)

    @property
    def is_open(self) -> bool:
        """Whether the receiver counts as down."""
        return self._failures >= _OPENS_AFTER

    def failed(self, reason: str, after: float = 0.0) -> float:
        """Note a failure; returns seconds until the next attempt.

        Args:
            after: seconds that the receiver asks for.
        """
        if not self._failures:
            self._since, self._pauses = self._clock.now(), pauses(*_PAUSES)
            log.warning("receiver_away receiver=%s reason=%r", self._name, reason)
        self._failures += 1
        self.reason = reason
        if self.is_open:
            self._up.set(0)
        return max(next(self._pauses), min(after, _LONGEST_RETRY_AFTER))

    def succeeded(self) -> None:
        """Note that the receiver took something."""
        self.reason, self.accepted_at = "", self._clock.now()
        if self._failures:
            away = self._clock.now() - self._since
            log.warning("receiver_back receiver=%s away=%.0fs", self._name, away)
            self._failures = 0
            self._up.set(1)
