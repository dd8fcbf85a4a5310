"""The answer to a gateway: status, headers and a JSON body.

| status | `decision` | |
|---|---|---|
| 200 | `observe`, `mark`, `throttle` | let the request pass; `throttle`: at a low rate |
| 401 | `challenge` | demand proof; `reason` `no_key`: the request names no key |
| 400 | `challenge` | `reason` `unreadable_key`: the request names a key that cannot be read |
| 403 | `block` | refuse |

In shadow mode the status is 200 and the decision `observe`; `X-XM-Shadow` has what would apply.

`Cache-Control` bounds how long a cache may repeat the answer: one second, and a decision until its
end if the monitor cannot be reached (`stale-if-error`, RFC 5861). An answer without a lookup, or
from a failed one, must not be kept.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from monitor.alerting.alerts import Action
from pipelines.gateways.decisions import Found

_STATUS: dict[Action, int] = {
    "observe": 200,
    "mark": 200,
    "throttle": 200,
    "challenge": 401,
    "block": 403,
}
_CACHE_SECONDS = 1
_REVALIDATE_SECONDS = 10  # in which a cache may repeat an answer while it fetches the next
_NO_KEY = (
    "Send the API key in the Authorization or X-API-Key header, "
    "or in another that XM_GATEWAY__KEY_HEADERS names."
)
_UNREADABLE = "A header or parameter names an API key that cannot be read. Send one key, as it is."


class Answer(NamedTuple):
    """The answer to a gateway.

    Attributes:
        label: how metrics count it: the action, `unknown`, `no_key` or `unreadable_key`.
    """

    status: int
    headers: dict[str, str]
    body: dict[str, Any]
    label: str


def decided(found: Found, *, shadow: bool, now: float) -> Answer:
    """The answer for the subjects of a request.

    Args:
        now: wall-clock time, epoch seconds.
    """
    decision = found.decision
    if decision is None:
        cached = f"max-age={_CACHE_SECONDS}" if found.known else "no-store"
        body = _body("observe", None if found.known else "unknown")
        return Answer(
            200, _headers("observe", cached), body, "observe" if found.known else "unknown"
        )
    body = _body(decision.action, decision.reason, decision.until, decision.scope)
    left = max(0, int(decision.until - now))
    cached = (
        f"max-age={min(_CACHE_SECONDS, left)}, stale-while-revalidate={_REVALIDATE_SECONDS}, "
        f"stale-if-error={left}"
    )
    headers = _headers(decision.action, cached) | {"X-XM-Subject": decision.key}
    return _applied(_STATUS[decision.action], headers, body, decision.action, shadow)


def no_key(*, shadow: bool) -> Answer:
    """The answer to a request that names no key."""
    return _without_key(401, "no_key", _NO_KEY, shadow)


def unreadable_key(*, shadow: bool) -> Answer:
    """The answer to a request with a key that cannot be read. To pass it would reward the trick."""
    return _without_key(400, "unreadable_key", _UNREADABLE, shadow)


def _without_key(status: int, reason: str, message: str, shadow: bool) -> Answer:
    body = _body("challenge", reason) | {"message": message}
    headers = _headers("challenge", "no-store")
    return _applied(status, headers, body, reason, shadow)


def _applied(
    status: int, headers: dict[str, str], body: dict[str, Any], label: str, shadow: bool
) -> Answer:
    """An answer as it applies: weakened to a pass in shadow mode."""
    if shadow:
        headers = _headers("observe", f"max-age={_CACHE_SECONDS}") | {
            "X-XM-Shadow": headers["X-XM-Decision"]
        }
        return Answer(
            200, headers, body | {"decision": "observe", "shadow": body["decision"]}, label
        )
    if status == 401:  # HTTP requires a challenge with every 401 (RFC 9110, 11.6.1)
        headers = headers | {"WWW-Authenticate": "Bearer"}
    return Answer(status, headers, body, label)


def _headers(decision: Action, cached: str) -> dict[str, str]:
    return {"X-XM-Decision": decision, "Cache-Control": cached}


def _body(
    decision: Action, reason: str | None, until: float | None = None, scope: str | None = None
) -> dict[str, Any]:
    return {"decision": decision, "reason": reason, "until": until, "scope": scope}
