"""PagerDuty: one event of the Events API v2 per change, all of a subject under one dedup key.

PagerDuty adds a repeated event to the log of the incident that is open under the key, so a message
that is sent twice pages nobody twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from pipelines.notify import text
from pipelines.notify.incidents.links import NONE, Links
from pipelines.notify.incidents.notice import Notice
from pipelines.notify.receivers.base import Endpoint

URL = "https://events.pagerduty.com/v2/enqueue"


@dataclass(frozen=True, slots=True)
class PagerDuty:
    """Triggers and resolves incidents; the endpoint's secret is the integration key."""

    endpoint: Endpoint
    name: str = "pagerduty"
    links: Links = NONE
    batch: ClassVar[int] = 1
    groups: ClassVar[bool] = True
    inhibits: ClassVar[bool] = False
    takes_updates: ClassVar[bool] = True
    refresh_seconds: ClassVar[float] = 0.0

    async def send(self, notices: list[Notice]) -> None:
        for notice in notices:
            await self.endpoint.send(msgspec.json.encode(self._event(notice)), {})

    def _event(self, notice: Notice) -> dict[str, Any]:
        alert = notice.alert
        event: dict[str, Any] = {
            "routing_key": self.endpoint.secret,
            "dedup_key": alert.subject.id,
        }
        if alert.state == "resolved":
            return {**event, "event_action": "resolve"}
        links = self.links.of(alert)
        event["links"] = [{"href": url, "text": text.LINKS[name]} for name, url in links.items()]
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
                    **text.facts(notice),
                    **text.evidence(alert),
                    "Next": text.next_step(alert),
                },
            },
        }
