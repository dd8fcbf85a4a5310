"""CSRF tokens: a page of another site can make a browser post a form, but not with the token.

The token is derived from the id in the session's cookie, which other sites cannot read, so nothing
is stored and it belongs to one session only. Before the sign-on it is derived from a random cookie
that names no session.

Browsers also say which site a request comes from (Fetch Metadata, W3C). It is refused if that is
another one, also if it is on the same domain: cookies do not tell these apart.
"""

from __future__ import annotations

import hashlib
import hmac

FIELD, HEADER = "csrf", "x-csrf-token"


def token_of(id: str) -> str:
    """The token of a session.

    Args:
        id: in its cookie.
    """
    return hmac.new(id.encode("utf-8", "surrogatepass"), b"csrf", hashlib.sha256).hexdigest()


def is_same(token: str, presented: str) -> bool:
    """Whether a form or htmx presents a token. The time does not depend on how much is right."""
    return hmac.compare_digest(token.encode(), presented.encode("utf-8", "surrogatepass"))


def is_foreign(site: str | None) -> bool:
    """Whether a browser says that another site made it send a request.

    Args:
        site: the header Sec-Fetch-Site.
    """
    return site in ("cross-site", "same-site")
