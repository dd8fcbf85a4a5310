"""A receiver takes alerts out of the system: a pager, a chat, an abuse desk's own tool.

`send` returns when the other side has accepted all alerts. It raises `AwayError` if the same
request may be accepted later, and anything else if the alerts themselves are rejected. Delivery
needs to know no more.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import aiohttp

from monitor.errors import MonitorError

_LATER = frozenset({408, 425, 429})


class AwayError(MonitorError):
    """The receiver cannot take alerts now. `after`: seconds until it asks to be called again."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


class RefusedError(MonitorError):
    """The receiver rejects these alerts; a retry cannot help."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a receiver listens.

    Attributes:
        url: may contain a secret, so it is in no message.
        timeout_seconds: for one request.
        tls: the certificates to trust; `None`: the system's.
        secret: that goes with each request.
    """

    url: str = field(repr=False)
    timeout_seconds: float
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    secret: str = field(default="", repr=False)

    async def send(
        self, body: bytes, headers: dict[str, str], path: str = "", method: str = "POST"
    ) -> None:
        """Send JSON; return on a 2xx status.

        Redirects are not followed: most turn a POST into a GET and lose the alerts silently. Each
        call opens a connection, because alerts are rare and receivers restart.

        Raises:
            AwayError: no answer in time, no connection, or status 5xx, 408, 425 or 429.
            RefusedError: any other status.
        """
        url = f"{self.url.rstrip('/')}{path}" if path else self.url
        headers = {"Content-Type": "application/json", **headers}
        timeout = aiohttp.ClientTimeout(total=self.timeout_seconds)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(
                    method,
                    url,
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    ssl=self.tls or True,
                ) as response,
            ):
                status, wait = response.status, response.headers.get("Retry-After")
                text = b"" if response.ok else await response.content.read(200)
        except TimeoutError as error:
            raise AwayError(f"no answer within {self.timeout_seconds:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise AwayError(self._hide(str(error) or type(error).__name__)) from None
        reason = self._hide(f"answers {status} {printable(text)}".rstrip())
        if status >= 500 or status in _LATER:
            raise AwayError(reason, retry_after(wait))
        if status >= 300:
            raise RefusedError(reason)

    def _hide(self, text: str) -> str:
        """A text without the URL and the secret, which a server may repeat."""
        for hidden in (self.url, urlsplit(self.url).path.rstrip("/"), self.secret):
            text = text.replace(hidden, "…") if hidden else text
        return text


def printable(answer: bytes) -> str:
    """What a server answered, in one line that a terminal can show."""
    words = " ".join(answer.decode(errors="replace").split())
    return "".join(each if each.isprintable() else "?" for each in words)


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
