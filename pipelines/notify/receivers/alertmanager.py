"""Alertmanager: groups, silences and routes alerts.

Alertmanager identifies an alert by its labels. Labels therefore hold what never changes during an
alert; what changes (score, evidence, decision) is an annotation, and the last one sent applies. The
exception is severity, because routes and pagers select by that label. Alertmanager takes a changed
severity for another alert, so the request that sends it also ends the one of the former severity.

Alertmanager keeps alerts in memory, ends each at its `endsAt` and expects clients to repeat it
before. So open alerts are sent again every minute, each time with an end one hour ahead. A
restarted Alertmanager knows them within a minute. A monitor that restarts within the hour ends
none. If the monitor is removed, its alerts end by themselves. Start times are event time, months
ago in a replay.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from monitor.alerting.alerts import Alert, Severity
from pipelines.notify import text
from pipelines.notify.receivers.base import Endpoint, Notice

HELD = 3600.0  # seconds
REFRESH = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """POSTs to the v2 API below the endpoint's URL; its secret is a bearer token."""

    endpoint: Endpoint
    name: str = "alertmanager"
    runbook_url: str | None = None
    batch: ClassVar[int] = 100
    refresh_seconds: ClassVar[float] = REFRESH

    async def send(self, notices: list[Notice]) -> None:
        now = time.time()
        body = [each for notice in notices for each in self._translate(notice, now)]
        headers = {}
        if self.endpoint.secret:
            headers["Authorization"] = f"Bearer {self.endpoint.secret}"
        await self.endpoint.send(msgspec.json.encode(body), headers, "/api/v2/alerts")

    def _translate(self, notice: Notice, now: float) -> list[dict[str, Any]]:
        alert, active, _ = notice
        if alert.state == "resolved":
            return [self._posted(alert, active or alert.severity, now, ends=True)]
        posted = [self._posted(alert, alert.severity, now)]
        if active not in (None, alert.severity):
            posted.insert(0, self._posted(alert, active, now, ends=True))
        return posted

    def _posted(
        self, alert: Alert, severity: Severity | None, now: float, *, ends: bool = False
    ) -> dict[str, Any]:
        """An alert as Alertmanager's API takes it.

        Args:
            now: wall-clock time, epoch seconds.
            ends: whether it ends now.
        """
        annotations = {
            "summary": alert.summary,
            "description": text.next_step(alert),
            "score": f"{alert.score:.4g}",
            "decision": alert.decision,
            "evidence": ", ".join(f"{name}={n:g}" for name, n in alert.evidence.items()),
            "members": str(len(alert.subject.members) or 1),
        }
        if self.runbook_url:
            annotations["runbook_url"] = self.runbook_url
        return {
            "labels": {
                "alertname": alertname(alert.kind),
                "alert_id": alert.id,
                "kind": alert.kind,
                "severity": severity,
                "subject": alert.subject.id,
                "subject_type": alert.subject.type,
            },
            "annotations": annotations,
            # Alertmanager rejects an end before the start, and event time may be ahead.
            "startsAt": text.rfc3339(min(alert.window[0], now)),
            "endsAt": text.rfc3339(now if ends else now + HELD),
        }


def alertname(kind: str) -> str:
    """
    >>> alertname("burst")
    'ExtractionBurst'
    """
    return "Extraction" + "".join(part.capitalize() for part in kind.split("_"))
