"""The cookie with the id of a session.

It is sent with links from other sites (SameSite=Lax), so that those in a pager or a mail lead to
the page. No such request changes anything: changes are posted, with a CSRF token.

Over encrypted connections its name begins with `__Host-`: browsers then take it from this host
only, not from others of its domain, and never send it unencrypted.
"""

from __future__ import annotations

import re

from starlette.requests import HTTPConnection

from monitor import config
from pipelines.console.access.session_store import LONGEST_SECONDS

_ID = re.compile(r"[\w-]{43}", re.ASCII)


def is_encrypted(settings: config.Console) -> bool:
    """Whether browsers reach the console over TLS, its own or that of a proxy."""
    return settings.tls_cert_file is not None or (settings.url or "").startswith("https:")


class Cookie:
    """The cookie.

    Args:
        secure: whether connections are encrypted.
    """

    def __init__(self, secure: bool) -> None:
        self._name = "__Host-xm-console" if secure else "xm-console"
        self._attributes = f"Path=/; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"

    def read(self, request: HTTPConnection) -> str:
        """The id that a browser sends; empty without one."""
        id = request.cookies.get(self._name, "")
        return id if _ID.fullmatch(id) else ""

    def line(self, id: str, seconds: int = int(LONGEST_SECONDS)) -> str:
        """The header that sets it.

        Args:
            seconds: that a browser keeps it; 0 deletes it.
        """
        return f"{self._name}={id}; Max-Age={seconds}; {self._attributes}"
