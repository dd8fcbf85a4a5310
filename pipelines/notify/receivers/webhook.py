"""Webhook: a signed POST to a URL of the operator.

The body is `{"alerts": [...]}`, each alert as on its topic, with three headers:

    X-XM-Timestamp: 1772040000                    time of this attempt, epoch seconds
    X-XM-Signature: v1=<hex>                      HMAC-SHA256(secret, timestamp + "." + body)
    Idempotency-Key: <hex>                        the same for every attempt with the same body

The receiver verifies the signature over the bytes as received, before parsing, and rejects a
timestamp older than a few minutes, so that a recorded request cannot be replayed. `verify` does
both. Delivery is at least once: after a crash an alert may come again in another batch. Recognise
it by its (id, state, detected_at).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from pipelines.notify.incidents.notice import Notice
from pipelines.notify.receivers.base import Endpoint


@dataclass(frozen=True, slots=True)
class Webhook:
    """POSTs to the endpoint's URL, signed with its secret."""

    endpoint: Endpoint
    name: str = "webhook"
    batch: ClassVar[int] = 100
    groups: ClassVar[bool] = False
    inhibits: ClassVar[bool] = False
    takes_updates: ClassVar[bool] = True
    refresh_seconds: ClassVar[float] = 0.0

    async def send(self, notices: list[Notice]) -> None:
        body = msgspec.json.encode({"alerts": [notice.alert for notice in notices]})
        timestamp = str(int(time.time()))
        signature = sign(self.endpoint.secret.encode("utf-8", "surrogateescape"), timestamp, body)
        headers = {
            "X-XM-Timestamp": timestamp,
            "X-XM-Signature": f"v1={signature}",
            "Idempotency-Key": hashlib.sha256(body).hexdigest()[:32],
        }
        await self.endpoint.send(body, headers)


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """The signature of a body and a timestamp, in hex."""
    return hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def verify(
    secret: bytes, headers: Mapping[str, str], body: bytes, tolerance: float = 300.0
) -> bool:
    """Whether a request was made by a holder of the secret, within `tolerance` of now.

    Args:
        secret: that both sides know.
        headers: of the request; the case of their names does not matter.
        body: the bytes as received.
        tolerance: seconds.
    """
    given = {name.lower(): value for name, value in headers.items()}
    timestamp = given.get("x-xm-timestamp", "")
    signature = given.get("x-xm-signature", "")
    if not re.fullmatch(r"[0-9]{1,12}", timestamp) or not signature.isascii():
        return False
    fresh = abs(time.time() - int(timestamp)) <= tolerance
    return fresh and hmac.compare_digest(f"v1={sign(secret, timestamp, body)}", signature)
