"""Opsgenie: an alert of the Alert API per subject, found again by its alias.

While an alert is open, Opsgenie counts another one under its alias and shows the first. So a rise
in severity is sent as an alert, for an Opsgenie that has none, and as a change of its priority.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from monitor.alerting.alerts import Severity
from pipelines.notify import text
from pipelines.notify.incidents.links import NONE, Links
from pipelines.notify.incidents.notice import Notice
from pipelines.notify.receivers.base import Endpoint

URL = "https://api.opsgenie.com"
_PRIORITIES: Mapping[Severity, str] = {"critical": "P1", "warning": "P3", "info": "P5"}
_SOURCE = "extraction-monitor"


@dataclass(frozen=True, slots=True)
class Opsgenie:
    """Creates and closes alerts; the endpoint's secret is the API key of an integration."""

    endpoint: Endpoint
    name: str = "opsgenie"
    links: Links = NONE
    batch: ClassVar[int] = 1
    groups: ClassVar[bool] = True
    inhibits: ClassVar[bool] = False
    takes_updates: ClassVar[bool] = True
    refresh_seconds: ClassVar[float] = 0.0

    async def send(self, notices: list[Notice]) -> None:
        for notice in notices:
            alert, alias = notice.alert, notice.alert.subject.id
            if alert.state == "resolved":
                await self._send(f"/{alias}/close?identifierType=alias", {"source": _SOURCE})
                continue
            await self._send("", self._alert(notice))
            if notice.active not in (None, alert.severity):
                path = f"/{alias}/priority?identifierType=alias"
                await self._send(path, {"priority": _PRIORITIES[alert.severity]}, "PUT")

    async def _send(self, path: str, body: dict[str, Any], method: str = "POST") -> None:
        headers = {"Authorization": f"GenieKey {self.endpoint.secret}"}
        data = msgspec.json.encode(body)
        await self.endpoint.send(data, headers, f"/v2/alerts{path}", method)

    def _alert(self, notice: Notice) -> dict[str, Any]:
        alert = notice.alert
        details = {**text.facts(notice), **text.evidence(alert)}
        details |= {text.LINKS[name]: url for name, url in self.links.of(alert).items()}
        return {
            "message": text.cut(f"{alert.kind}: {alert.summary}", 130),
            "alias": alert.subject.id,
            "description": f"{alert.summary}\n\n{text.next_step(alert)}",
            "entity": alert.subject.id,
            "source": _SOURCE,
            "tags": [alert.kind, alert.severity, alert.subject.type],
            "details": details,
            "priority": _PRIORITIES[alert.severity],
        }
