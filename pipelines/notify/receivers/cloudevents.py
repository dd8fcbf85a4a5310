"""CloudEvents: one event per change of an alert, in the JSON format over HTTP.

The data is the alert as on its topic. `source` and `id` identify the event, so a consumer drops a
repeated one by them, as the specification asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from monitor.alerting.alerts import Alert
from pipelines.notify import text
from pipelines.notify.incidents.notice import Notice
from pipelines.notify.receivers.base import Endpoint

SOURCE = "urn:extraction-monitor:alerts"


@dataclass(frozen=True, slots=True)
class CloudEvents:
    """POSTs events to the endpoint's URL; its secret is a bearer token."""

    endpoint: Endpoint
    name: str = "cloudevents"
    batch: ClassVar[int] = 1
    groups: ClassVar[bool] = False
    inhibits: ClassVar[bool] = False
    takes_updates: ClassVar[bool] = True
    refresh_seconds: ClassVar[float] = 0.0

    async def send(self, notices: list[Notice]) -> None:
        headers = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
        if self.endpoint.secret:
            headers["Authorization"] = f"Bearer {self.endpoint.secret}"
        for alert, *_ in notices:
            await self.endpoint.send(msgspec.json.encode(_event(alert)), headers)


def _event(alert: Alert) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": text.message_id(alert),
        "source": SOURCE,
        "type": f"extraction.alert.{alert.state}",
        "subject": alert.subject.id,
        "time": text.rfc3339(alert.detected_at),
        "datacontenttype": "application/json",
        "data": alert,
    }
