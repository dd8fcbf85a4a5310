"""A test alert: opens and resolves at every receiver, so that a person sees what arrives."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence

import msgspec

from monitor.alerting.alerts import Alert, Severity, Subject
from pipelines.notify.incidents.notice import Notice
from pipelines.notify.route import Route

KIND = "test"


class Trial(msgspec.Struct, frozen=True):
    """What a receiver did with a test alert.

    Attributes:
        failure: its answer; empty if it accepted.
        seconds: that it took.
    """

    receiver: str
    failure: str
    seconds: float


def alert(severity: Severity, now: float) -> Alert:
    """A test alert that opens. Its subject is a pseudonym that no key has."""
    return Alert(
        id=f"a_{secrets.token_hex(10)}",
        kind=KIND,
        state="open",
        severity=severity,
        score=0.0,
        subject=Subject("api_key", "k_" + 24 * "0"),
        detected_at=now,
        window=(now, now),
        evidence={},
        summary="Test alert of extraction-monitor, sent by `xm alerts test`. Nothing has happened.",
        decision="observe",
    )


async def try_receivers(routes: Sequence[Route], severity: Severity) -> list[Trial]:
    """Send a test alert to every receiver, whatever its conditions, and resolve it."""
    opened = alert(severity, time.time())
    resolved = msgspec.structs.replace(opened, state="resolved")
    tried = []
    for route in routes:
        begun, failure = time.monotonic(), ""
        try:
            await route.receiver.send([Notice(opened)])
            await route.receiver.send([Notice(resolved, severity)])
        except Exception as error:
            failure = str(error) or type(error).__name__
        tried.append(Trial(route.receiver.name, failure, time.monotonic() - begun))
    return tried
