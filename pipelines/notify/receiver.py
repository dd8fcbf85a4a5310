"""A receiver takes alerts out of the system: a pager, a chat, an abuse desk's own tool.

`send` returns when the other side has accepted all alerts. It raises `AwayError` if the same
request may be accepted later, and anything else if the alerts themselves are rejected. Delivery
needs to know no more.
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
    """One destination of alerts."""

    @property
    def name(self) -> str:
        """Its name in logs and metrics."""

    async def send(self, alerts: list[Alert]) -> None:
        """Send alerts in order; return once they are accepted."""


class AwayError(MonitorError):
    """The receiver cannot take alerts now. `after`: seconds until it asks to be called again."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


class RefusedError(MonitorError):
    """The receiver rejects these alerts; a retry cannot help."""


async def post(url: str, body: bytes, headers: dict[str, str], seconds: float) -> None:
    """POST JSON; return on a 2xx status.

    Redirects are not followed: most turn the POST into a GET and lose the alerts silently. Each
    call opens a connection, because alerts are rare and receivers restart.

    Raises:
        AwayError: no answer within `seconds`, no connection, or status 5xx, 408 or 429.
        RefusedError: any other status.
    """
    headers = {"Content-Type": "application/json", **headers}
    timeout = aiohttp.ClientTimeout(total=seconds)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            status, wait = response.status, response.headers.get("Retry-After")
            text = b"" if response.ok else await response.content.read(200)
    except TimeoutError as error:
        raise AwayError(f"no answer within {seconds:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise AwayError(str(error) or type(error).__name__) from error
    reason = f"answers {status} {' '.join(text.decode(errors='replace').split())}".rstrip()
    if status >= 500 or status in _LATER:
        raise AwayError(reason, retry_after(wait))
    if status >= 300:
        raise RefusedError(reason)


def retry_after(header: str | None) -> float:
    """Seconds to wait by a Retry-After header, in either of its two forms; 0 without one.

    >>> retry_after("7"), retry_after(None), retry_after("soon")
    (7.0, 0.0, 0.0)
    """
    if not header:
        return 0.0
    try:
        if header.isdecimal():
            return float(header)
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
