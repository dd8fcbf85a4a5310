"""The answer to a client whose request is refused: status, headers and a sentence."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any, NamedTuple

from pipelines.gateways.client.client import Verdict

_ERRORS = {  # types and codes of OpenAI's errors, which its clients read
    400: ("invalid_request_error", "unreadable_key"),
    401: ("authentication_error", "key_challenged"),
    403: ("permission_error", "key_blocked"),
    429: ("rate_limit_error", "key_throttled"),
    503: ("service_unavailable_error", "monitor_away"),
}
_DETAIL = {
    400: "A header or parameter names an API key that cannot be read. Send one key, as it is.",
    401: "Prove who uses this API key before it may be used again: contact the operator.",
    403: "This API key may not be used: contact the operator.",
    429: "This API key has used up its requests for now. Retry after the time in Retry-After.",
    503: "It cannot be checked now whether this API key may be used. Try again later.",
}


class Refusal(NamedTuple):
    """A refusal. The status is 400, 401, 403, 429 or 503."""

    status: int
    detail: str
    headers: dict[str, str]
    reason: str | None

    @property
    def error(self) -> dict[str, Any]:
        """The body in the form of OpenAI's errors."""
        kind, code = _ERRORS[self.status]
        return {"error": {"message": self.detail, "type": kind, "param": None, "code": code}}

    @property
    def problem(self) -> dict[str, Any]:
        """The body as a problem document (RFC 9457), with the members of `error`.

        `reason` is the id of the alert.
        """
        title = HTTPStatus(self.status).phrase
        body = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        return body | self.error | ({"reason": self.reason} if self.reason else {})


def refusal(verdict: Verdict) -> Refusal | None:
    """How to refuse a request; `None` if it may pass."""
    if verdict.status == 200:
        return None
    headers = {"Cache-Control": "no-store"}
    if verdict.retry_after:
        headers["Retry-After"] = str(max(1, math.ceil(verdict.retry_after)))
    if verdict.status == 401:  # HTTP requires a challenge with every 401 (RFC 9110, 11.6.1)
        headers["WWW-Authenticate"] = "Bearer"
    return Refusal(verdict.status, _DETAIL[verdict.status], headers, verdict.reason)


UNREADABLE_KEY = Verdict(status=400)
