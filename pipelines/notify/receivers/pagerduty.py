"""PagerDuty: one event of the Events API v2 per change, all of an alert under one dedup key.

PagerDuty adds a repeated event to the log of the incident that is open under the key, so a message
that is sent twice pages nobody twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from monitor.alerting.alerts import Alert
from pipelines.notify import text
from pipelines.notify.receivers.base import Endpoint, Notice

URL = "https://events.pagerduty.com/v2/enqueue"


@dataclass(frozen=True, slots=True)
class PagerDuty:
    """Triggers and resolves incidents; the endpoint's secret is the integration key."""

    endpoint: Endpoint
    name: str = "pagerduty"
    runbook_url: str | None = None
    batch: ClassVar[int] = 1
    refresh_seconds: ClassVar[float] = 0.0

    async def send(self, notices: list[Notice]) -> None:
        for alert, *_ in notices:
            await self.endpoint.send(msgspec.json.encode(self._event(alert)), {})

    def _event(self, alert: Alert) -> dict[str, Any]:
        event: dict[str, Any] = {"routing_key": self.endpoint.secret, "dedup_key": alert.id}
        if alert.state == "resolved":
            return {**event, "event_action": "resolve"}
        if self.runbook_url:
            event["links"] = [{"href": self.runbook_url, "text": "Respond to an alert"}]
        return {
            **event,
            "event_action": "trigger",
            "client": "extraction-monitor",
            "payload": {
                "summary": text.cut(f"[{alert.kind}] {alert.summary}", 1024),
                "source": alert.subject.id,
                "severity": alert.severity,
                "timestamp": text.rfc3339(alert.detected_at),
                "component": "extraction-monitor",
                "group": alert.subject.type,
                "class": alert.kind,
                "custom_details": {
                    **text.facts(alert),
                    "Evidence": text.evidence(alert),
                    "Next": text.next_step(alert),
                },
            },
        }
