"""Dead letters: alerts that a receiver rejected, or did not accept for too long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from monitor.alerting.alerts import Alert


class DeadLetter(msgspec.Struct, frozen=True):
    """A message of the topic of undelivered alerts.

    Attributes:
        receiver: the name of the route.
        reason: the receiver's last answer.
        at: wall-clock time, epoch seconds.
    """

    receiver: str
    reason: str
    at: float
    alert: Alert


Publish = Callable[[DeadLetter], Awaitable[None]]
