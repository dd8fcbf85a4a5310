"""The answer to a gateway: status, headers and a JSON body.

| status | `decision` | |
|---|---|---|
| 200 | `observe`, `mark`, `throttle` | let the request pass; `throttle`: at most at `rate` |
| 401 | `challenge` | demand proof; `reason` `no_key`: the request names no key |
| 400 | `challenge` | `reason` `unreadable_key`: the request names a key that cannot be read |
| 403 | `block` | refuse |
| 429 | `throttle` | the request is beyond the rate; only if the service counts requests |
| 503 | `block` | `reason` `unknown`: the copy is missing or stale, and the gateway fails closed |

In shadow mode and after the kill switch the status is 200 and the decision `observe`; `X-XM-Shadow`
has what would apply. The body of a refusal is a problem document (RFC 9457).

`Cache-Control` bounds how long a cache may repeat the answer: one second, and a decision until its
end if the monitor cannot be reached (`stale-if-error`, RFC 5861). An answer from a stale copy must
not be kept.
"""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from monitor.alerting.alerts import Action
from monitor.alerting.enforcement import Effective

_STATUS: dict[Action, int] = {
    "observe": 200, "mark": 200, "throttle": 200, "challenge": 401, "block": 403,
}  # fmt: skip
_CACHE_SECONDS = 1
_REVALIDATE_SECONDS = 10  # in which a cache may repeat an answer while it fetches the next
_RETRY_SECONDS = 5  # after which a stale copy may be fresh again
_MINUTE = 60.0
_JSON = "application/json"
_NO_KEY = (
    "Send the API key in the Authorization or X-API-Key header, "
    "or in another that XM_GATEWAY__KEY_HEADERS names."
)
_UNREADABLE = "A header or parameter names an API key that cannot be read. Send one key, as it is."
_STALE = "The decisions on this key are not known at the moment. Try again later."
_DETAIL: dict[str, str] = {
    "challenge": "Prove who uses this key before it may be used again.",
    "block": "This key may not be used until the time in `until`.",
    "throttle": "This key has used up its requests for now. Retry after the time in Retry-After.",
}


class Answer(NamedTuple):
    """The answer to a gateway.

    Attributes:
        label: how metrics count it: the action, `unknown`, `no_key` or `unreadable_key`.
    """

    status: int
    headers: dict[str, str]
    body: dict[str, Any]
    label: str

    @property
    def content(self) -> bytes:
        """The body as JSON."""
        return msgspec.json.encode(self.body)


def decided(found: Effective, now: float) -> Answer:
    """The answer for the subjects of a request.

    Args:
        now: wall-clock time, epoch seconds.
    """
    decision = found.decision
    if decision is None:
        return _observe(f"max-age={_CACHE_SECONDS}")
    if found.action == "observe":
        return _held_back(found.would_be, decision.reason, decision.until, decision.scope)
    body = _body(found.action, decision.reason, decision.until, decision.scope)
    left = max(0, int(decision.step_at(now)[1] - now))
    headers = {
        "Content-Type": _JSON,
        "X-XM-Decision": found.action,
        "X-XM-Subject": decision.key,
        "Cache-Control": (
            f"max-age={min(_CACHE_SECONDS, left)}, stale-while-revalidate={_REVALIDATE_SECONDS}, "
            f"stale-if-error={left}"
        ),
    }
    if decision.mark is not None:
        headers["X-XM-Mark"] = body["mark"] = decision.mark
    if found.action == "throttle" and decision.rate is not None:
        body["rate"] = decision.rate
        headers |= {
            "X-XM-Rate": f"{decision.rate:g}",
            "RateLimit-Policy": f'"xm";q={max(1, round(decision.rate))};w={_MINUTE:.0f}',
            "Retry-After": str(_seconds_between(decision.rate)),
        }
    elif found.action in ("challenge", "block"):
        headers["Retry-After"] = str(left)
    status = _STATUS[found.action]
    if status >= 400:
        return _refusal(status, headers, body, _DETAIL[found.action], found.action)
    return Answer(status, headers, body, found.action)


def exceeded(answer: Answer, wait: float) -> Answer:
    """The answer to a request of a throttled subject that comes too early.

    Args:
        answer: the one for requests within the rate.
        wait: seconds until a request is within the rate.
    """
    seconds = max(1, math.ceil(wait))
    headers = answer.headers | {
        "Retry-After": str(seconds),
        "RateLimit": f'"xm";r=0;t={seconds}',
        "Cache-Control": "no-store",
    }
    return _refusal(429, headers, answer.body, _DETAIL["throttle"], "throttle")


def unknown(*, closed: bool, shadow: bool) -> Answer:
    """The answer for a key without a known decision while the copy is missing or stale.

    Args:
        closed: whether to refuse what is not known.
        shadow: whether nothing is enforced on anybody.
    """
    if not closed:
        return _observe("no-store", "unknown")
    body = _body("block", "unknown")
    headers = {"X-XM-Decision": "block", "Cache-Control": "no-store"}
    if shadow:
        return _held_back("block", "unknown", label="unknown")
    return _refusal(503, headers | {"Retry-After": str(_RETRY_SECONDS)}, body, _STALE, "unknown")


def failed(status: int, detail: str, retry: int | None = None) -> Answer:
    """The answer to a call that is not permitted or cannot be answered: a problem document.

    Args:
        retry: seconds until it may be tried again.
    """
    headers = {"Content-Type": "application/problem+json"}
    if status == 401:  # HTTP requires a challenge with every 401 (RFC 9110, 11.6.1)
        headers["WWW-Authenticate"] = "Bearer"
    if retry is not None:
        headers["Retry-After"] = str(retry)
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return Answer(status, headers, body, "failed")


def no_key(*, shadow: bool) -> Answer:
    """The answer to a request that names no key."""
    return _without_key(401, "no_key", _NO_KEY, shadow)


def unreadable_key(*, shadow: bool) -> Answer:
    """The answer to a request with a key that cannot be read. To pass it would reward the trick."""
    return _without_key(400, "unreadable_key", _UNREADABLE, shadow)


def _without_key(status: int, reason: str, message: str, shadow: bool) -> Answer:
    if shadow:
        return _held_back("challenge", reason, label=reason)
    body = _body("challenge", reason)
    headers = {"X-XM-Decision": "challenge", "Cache-Control": "no-store"}
    return _refusal(status, headers, body, message, reason)


def _observe(cached: str, reason: str | None = None) -> Answer:
    headers = {"Content-Type": _JSON, "X-XM-Decision": "observe", "Cache-Control": cached}
    return Answer(200, headers, _body("observe", reason), reason or "observe")


def _held_back(
    would_be: Action,
    reason: str,
    until: float | None = None,
    scope: str | None = None,
    label: str | None = None,
) -> Answer:
    """A pass that names the decision that would apply if it were enforced."""
    answer = _observe(f"max-age={_CACHE_SECONDS}")
    body = _body("observe", reason, until, scope)
    if would_be == "observe":
        return answer._replace(body=body)
    headers = answer.headers | {"X-XM-Shadow": would_be}
    return Answer(200, headers, body | {"shadow": would_be}, label or would_be)


def _refusal(
    status: int, headers: dict[str, str], body: dict[str, Any], detail: str, label: str
) -> Answer:
    """A problem document with the decision's members."""
    refused = failed(status, detail)
    return Answer(status, headers | refused.headers, refused.body | body, label)


def _body(
    decision: Action, reason: str | None, until: float | None = None, scope: str | None = None
) -> dict[str, Any]:
    return {"decision": decision, "reason": reason, "until": until, "scope": scope}


def _seconds_between(rate: float) -> int:
    """Seconds between two requests at a rate per minute."""
    return max(1, math.ceil(_MINUTE / rate)) if rate > 0 else int(_MINUTE)
