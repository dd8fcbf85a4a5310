"""A receiver takes alerts out of the system: a pager, a chat, an abuse desk's own tool.

It is told a list of alerts and returns when the other side has them, or raises: `AwayError` if the
same request may be taken later, anything else if the alerts themselves are not wanted. That
difference is all that delivery knows about it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

import aiohttp

from monitor.alerting.alerts import Alert
from monitor.errors import MonitorError

_LATER = frozenset({408, 429})


class Receiver(Protocol):
    """One way out."""

    @property
    def name(self) -> str:
        """What logs and metrics call it."""

    async def send(self, alerts: list[Alert]) -> None:
        """Hand the alerts over, in their order; returning means they are taken."""


class AwayError(MonitorError):
    """The receiver cannot take alerts now; `after` is how many seconds it asked to be left."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


class RefusedError(MonitorError):
    """The receiver does not want these alerts, however often they are sent."""


async def post(url: str, body: bytes, headers: dict[str, str], seconds: float) -> None:
    """POST JSON and return on a 2xx.

    Redirects are not followed: most would turn the POST into a GET and lose the alerts quietly.
    A connection is opened for each call, since alerts are rare and receivers restart.
    """
    headers = {"Content-Type": "application/json", **headers}
    timeout = aiohttp.ClientTimeout(total=seconds)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            status, told = response.status, response.headers.get("Retry-After")
            text = b"" if response.ok else await response.content.read(200)
    except TimeoutError as error:
        raise AwayError(f"no answer within {seconds:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise AwayError(str(error) or type(error).__name__) from error
    reason = f"answers {status} {' '.join(text.decode(errors='replace').split())}".rstrip()
    if status >= 500 or status in _LATER:
        raise AwayError(reason, retry_after(told))
    if status >= 300:
        raise RefusedError(reason)


def retry_after(told: str | None) -> float:
    """Seconds that a Retry-After header, in either of its two forms, asks for; 0 if it does not.

    >>> retry_after("7"), retry_after(None), retry_after("soon")
    (7.0, 0.0, 0.0)
    """
    if not told:
        return 0.0
    try:
        if told.isdecimal():
            return float(told)
        return max(0.0, (parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
