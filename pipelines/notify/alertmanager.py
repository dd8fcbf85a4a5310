"""Alertmanager: groups, silences and routes alerts.

Alertmanager identifies an alert by its labels. Labels therefore hold what never changes during an
alert; what changes (score, evidence, decision) is an annotation, and the last one sent applies. The
exception is severity, because routes and pagers select by that label. Alertmanager takes a changed
severity for another alert, so the request that sends it also ends the former severities.

Alertmanager ends an alert at `endsAt` and expects clients to repeat it before. This system sends an
alert once per change, with an end `HELD` seconds ahead, and the real end when the alert resolves.
If the monitor is removed, its open alerts end by themselves after that time. Start times are event
time, months ago in a replay.
"""

from __future__ import annotations

import time
from collections.abc import Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from monitor.alerting.alerts import SEVERITIES, Alert, Severity
from monitor.records.profile import DAY
from pipelines.notify.receiver import post

HELD = 7.0 * DAY  # seconds
_REMEMBERED = 100_000
_ALL: frozenset[Severity] = frozenset(SEVERITIES)


@dataclass(slots=True)
class Alertmanager:
    """POSTs to the v2 API below `url`."""

    url: str
    timeout_seconds: float
    name: str = "alertmanager"
    _sent: dict[str, Set[Severity]] = field(default_factory=dict, init=False, repr=False)

    async def send(self, alerts: list[Alert]) -> None:
        now = time.time()
        body = [each for alert in alerts for each in translate(alert, self._severities(alert), now)]
        url = f"{self.url.rstrip('/')}/api/v2/alerts"
        await post(url, msgspec.json.encode(body), {}, self.timeout_seconds)

    def _severities(self, alert: Alert) -> Set[Severity]:
        """Severities that this alert was sent with; all, if it opened before this process started.

        Only these are ended: Alertmanager notifies of every end, even of an alert it never had.
        """
        before = self._sent.pop(alert.id, frozenset() if alert.state == "open" else _ALL)
        sent = self._sent[alert.id] = before | {alert.severity}
        if len(self._sent) > _REMEMBERED:
            del self._sent[next(iter(self._sent))]
        return sent


def translate(alert: Alert, sent: Set[Severity], now: float) -> list[dict[str, Any]]:
    """An alert as Alertmanager's API takes it: the present severity, and the end of former ones.

    Args:
        alert: to send.
        sent: severities that the alert was sent with, the present one included.
        now: wall-clock time, epoch seconds.
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
            # Alertmanager rejects an end before the start, and event time may be ahead.
            "startsAt": _rfc3339(min(alert.window[0], now)),
            "endsAt": _rfc3339(
                now if alert.state == "resolved" or severity != alert.severity else now + HELD
            ),
        }
        for severity in sorted(sent)
    ]


def alertname(kind: str) -> str:
    """
    >>> alertname("burst")
    'ExtractionBurst'
    """
    return "Extraction" + "".join(part.capitalize() for part in kind.split("_"))


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
