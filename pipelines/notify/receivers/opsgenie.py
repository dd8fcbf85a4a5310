"""Opsgenie: an alert of the Alert API per alert, found again by its alias.

While an alert is open, Opsgenie counts another one under its alias and shows the first. So a rise
in severity is sent as an alert, for an Opsgenie that has none, and as a change of its priority.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from monitor.alerting.alerts import Alert, Severity
from pipelines.notify import text
from pipelines.notify.receivers.base import Endpoint, Notice

URL = "https://api.opsgenie.com"
_PRIORITIES: Mapping[Severity, str] = {"critical": "P1", "warning": "P3", "info": "P5"}
_SOURCE = "extraction-monitor"


@dataclass(frozen=True, slots=True)
class Opsgenie:
    """Creates and closes alerts; the endpoint's secret is the API key of an integration."""

    endpoint: Endpoint
    name: str = "opsgenie"
    runbook_url: str | None = None
    batch: ClassVar[int] = 1
    refresh_seconds: ClassVar[float] = 0.0

    async def send(self, notices: list[Notice]) -> None:
        for alert, active, _ in notices:
            if alert.state == "resolved":
                await self._send(f"/{alert.id}/close?identifierType=alias", {"source": _SOURCE})
                continue
            await self._send("", self._alert(alert))
            if active not in (None, alert.severity):
                path = f"/{alert.id}/priority?identifierType=alias"
                await self._send(path, {"priority": _PRIORITIES[alert.severity]}, "PUT")

    async def _send(self, path: str, body: dict[str, Any], method: str = "POST") -> None:
        headers = {"Authorization": f"GenieKey {self.endpoint.secret}"}
        data = msgspec.json.encode(body)
        await self.endpoint.send(data, headers, f"/v2/alerts{path}", method)

    def _alert(self, alert: Alert) -> dict[str, Any]:
        details = {**text.facts(alert), "Evidence": text.evidence(alert)}
        if self.runbook_url:
            details["Runbook"] = self.runbook_url
        return {
            "message": text.cut(f"{alert.kind}: {alert.summary}", 130),
            "alias": alert.id,
            "description": f"{alert.summary}\n\n{text.next_step(alert)}",
            "entity": alert.subject.id,
            "source": _SOURCE,
            "tags": [alert.kind, alert.severity, alert.subject.type],
            "details": details,
            "priority": _PRIORITIES[alert.severity],
        }
