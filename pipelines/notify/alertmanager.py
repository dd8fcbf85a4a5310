"""Alertmanager: groups, silences and routes the alerts to people.

Its identity of an alert is its label set, so labels hold what stays the same for the life of an
alert, and everything that moves (score, evidence, decision) is an annotation, of which the last
one sent wins. The one exception is severity: routes and pagers choose by that label. A changed
severity is therefore another alert to Alertmanager, and the statement that brings it ends, in the
same request, the severities that the alert was told under before.

Alertmanager ends what it has not heard of for a while (`endsAt`), and expects to be told again
and again. This system speaks once per change, so it states an end far ahead, `HELD` seconds from
now, and the real one when the alert resolves. If the monitor is taken away for good, what it left
open ends by itself after that time. Start times are kept as they are, months back in a replay.
"""

from __future__ import annotations

import time
from collections.abc import Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from monitor.alerting.alerts import SEVERITIES, Alert, Severity
from pipelines.notify.receiver import post

HELD = 7 * 86_400.0
_REMEMBERED = 100_000
_ALL: frozenset[Severity] = frozenset(SEVERITIES)


@dataclass(slots=True)
class Alertmanager:
    """POSTs to the v2 API below `url`."""

    url: str
    timeout_seconds: float
    name: str = "alertmanager"
    _told: dict[str, Set[Severity]] = field(default_factory=dict, init=False, repr=False)

    async def send(self, alerts: list[Alert]) -> None:
        now = time.time()
        body = [said for alert in alerts for said in translate(alert, self._severities(alert), now)]
        url = f"{self.url.rstrip('/')}/api/v2/alerts"
        await post(url, msgspec.json.encode(body), {}, self.timeout_seconds)

    def _severities(self, alert: Alert) -> Set[Severity]:
        """Those that the alert has been told under; if it opened before this process, any.

        Only these are ended: people are told of every end, even of what never began.
        """
        before = self._told.pop(alert.id, frozenset() if alert.state == "open" else _ALL)
        told = self._told[alert.id] = before | {alert.severity}
        if len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]
        return told


def translate(alert: Alert, told: Set[Severity], now: float) -> list[dict[str, Any]]:
    """An alert in Alertmanager's words: its present severity, and the end of the others told.

    Args:
        told: severities that the alert has been told under, this one included.
        now: the wall clock.
    """
    return [
        {
            "labels": {
                "alertname": alertname(alert.kind),
                "alert_id": alert.id,
                "kind": alert.kind,
                "severity": severity,
                "subject": alert.subject.id,
                "subject_type": alert.subject.type,
            },
            "annotations": {
                "summary": alert.summary,
                "score": f"{alert.score:.4g}",
                "decision": alert.decision,
                "evidence": ", ".join(f"{name}={n:g}" for name, n in alert.evidence.items()),
                "members": str(len(alert.subject.members) or 1),
            },
            # An end before the start is refused, and event time may be ahead of the clock.
            "startsAt": _rfc3339(min(alert.window[0], now)),
            "endsAt": _rfc3339(
                now if alert.state == "resolved" or severity != alert.severity else now + HELD
            ),
        }
        for severity in sorted(told)
    ]


def alertname(kind: str) -> str:
    """
    >>> alertname("burst")
    'ExtractionBurst'
    """
    return "Extraction" + "".join(part.capitalize() for part in kind.split("_"))


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
