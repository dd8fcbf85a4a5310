"""Webhook: a signed POST to whatever the operator runs.

The body is `{"alerts": [...]}`, each alert as it is on its topic. Three headers come with it:

    X-XM-Timestamp: 1772040000                    when this attempt was made, epoch seconds
    X-XM-Signature: v1=<hex>                      HMAC-SHA256(secret, timestamp + "." + body)
    Idempotency-Key: <hex>                        the same for every attempt at the same body

A receiver checks the signature over the bytes as they came, before parsing them, and turns away
timestamps older than a few minutes, so that a recorded request is worth nothing later; `verify`
does both. Delivery is at least once: after a crash alerts may come again in other company, so
what has been handled is best remembered by an alert's (id, state, detected_at).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from monitor.alerting.alerts import Alert
from pipelines.notify.receiver import post


@dataclass(frozen=True, slots=True)
class Webhook:
    """POSTs to `url`, signed with `secret`."""

    url: str
    secret: bytes = field(repr=False)
    timeout_seconds: float
    name: str = "webhook"

    async def send(self, alerts: list[Alert]) -> None:
        body = msgspec.json.encode({"alerts": alerts})
        timestamp = str(int(time.time()))
        headers = {
            "X-XM-Timestamp": timestamp,
            "X-XM-Signature": f"v1={sign(self.secret, timestamp, body)}",
            "Idempotency-Key": hashlib.sha256(body).hexdigest()[:32],
        }
        await post(self.url, body, headers, self.timeout_seconds)


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """The signature, in hex, that belongs to a body sent at a time."""
    return hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def verify(
    secret: bytes, headers: Mapping[str, str], body: bytes, tolerance: float = 300.0
) -> bool:
    """Whether a request comes from the holder of the secret and was made just now.

    Args:
        headers: the request's headers; the case of their names does not matter.
        body: the bytes as they came.
        tolerance: seconds that the sender's clock may differ from ours.
    """
    given = {name.lower(): value for name, value in headers.items()}
    timestamp = given.get("x-xm-timestamp", "")
    signature = given.get("x-xm-signature", "")
    if not re.fullmatch(r"[0-9]{1,12}", timestamp) or not signature.isascii():
        return False
    fresh = abs(time.time() - int(timestamp)) <= tolerance
    return fresh and hmac.compare_digest(f"v1={sign(secret, timestamp, body)}", signature)
