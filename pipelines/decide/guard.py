"""Who may ask the decision service, and how often.

Look-ups need a token if the settings say so; changes always do. Each client address has a limit of
look-ups, each token one of changes.

A gateway hands the status of a look-up on to its client: 401 challenges, 403 blocks. So a look-up
that is not permitted gets 511 and one too many 503, which gateways take for a failure of the
monitor and treat as they are configured to. On all other pages the statuses are 401, 403 and 429.
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

from monitor import config
from pipelines.decide.metrics import LookupMetrics
from pipelines.web.limits import RateLimiter
from pipelines.web.tokens import Token, Tokens

TOKEN_HEADER = "x-xm-token"
_BURST_SECONDS = 2.0  # of the rate of look-ups
_NO_TOKEN = (
    "The token is missing, or it is not in XM_SERVE__TOKENS_FILE. "
    "Send it in the X-XM-Token header. `xm token NAME` makes one."
)


class Refusal(NamedTuple):
    """Why a call is not answered.

    Attributes:
        retry: seconds until it may be tried again.
    """

    status: int
    detail: str
    retry: int | None = None


class Guard:
    """Checks calls.

    Args:
        settings: whether look-ups need a token, and the limits.
        tokens: the known ones.
        metrics: counts refusals.
    """

    def __init__(self, settings: config.Serve, tokens: Tokens, metrics: LookupMetrics) -> None:
        self._settings, self._tokens, self._metrics = settings, tokens, metrics
        self._open = settings.lookups == "open"
        self._looks, self._changes = RateLimiter(), RateLimiter()

    def lookup(self, client: str, token: str | None, count: int = 1) -> Refusal | None:
        """Check a look-up; `None` if it is permitted.

        Args:
            client: its address.
            token: what it presents.
            count: of requests that it looks up.
        """
        if not self._open and (token is None or self._tokens.find(token) is None):
            return self._refuse("token", Refusal(511, _NO_TOKEN))
        rate = self._settings.lookups_per_second
        for _ in range(count):
            wait = self._looks.wait(client, time.monotonic(), rate, rate * _BURST_SECONDS)
            if wait:
                detail = f"More than {rate:g} look-ups per second from {client}."
                return self._refuse("rate", Refusal(503, detail, math.ceil(wait)))
        return None

    def page(self, client: str, token: str | None, count: int = 1) -> Refusal | None:
        """Check a call of another page that looks up; `None` if it is permitted."""
        refusal = self.lookup(client, token, count)
        if refusal is None:
            return None
        return refusal._replace(status={511: 401, 503: 429}[refusal.status])

    def read(self, token: str | None) -> Refusal | None:
        """Check a call that shows what people have set, and why: it needs a token in any case."""
        if token is None or self._tokens.find(token) is None:
            return self._refuse("token", Refusal(401, _NO_TOKEN))
        return None

    def change(self, token: str | None) -> Token | Refusal:
        """Check a call that changes something; the token if it is permitted."""
        found = None if token is None else self._tokens.find(token)
        if found is None:
            return self._refuse("token", Refusal(401, _NO_TOKEN))
        if not found.permits("change"):
            detail = (
                f"The token {found.name} permits to look up only. "
                "`xm token NAME --right change` makes one that permits changes."
            )
            return self._refuse("right", Refusal(403, detail))
        per_minute = self._settings.changes_per_minute
        wait = self._changes.wait(found.name, time.monotonic(), per_minute / 60, per_minute)
        if wait:
            detail = f"More than {per_minute:g} changes per minute with the token {found.name}."
            return self._refuse("rate", Refusal(429, detail, math.ceil(wait)))
        return found

    def _refuse(self, reason: str, refusal: Refusal) -> Refusal:
        self._metrics.refused.labels(reason).inc()
        return refusal
