"""Microsoft Teams: an adaptive card in a channel, by a workflow that takes webhook requests.

The workflow knows no dedup key. So every change of an alert is a card of its own, and one whose
answer is lost on the way appears twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from monitor.alerting.alerts import Alert, Severity
from pipelines.notify import text
from pipelines.notify.receivers.base import Endpoint, Notice

_COLOURS: Mapping[Severity, str] = {
    "critical": "Attention",
    "warning": "Warning",
    "info": "Accent",
}


@dataclass(frozen=True, slots=True)
class Teams:
    """POSTs adaptive cards to the URL of a workflow."""

    endpoint: Endpoint
    name: str = "teams"
    runbook_url: str | None = None
    batch: ClassVar[int] = 1
    refresh_seconds: ClassVar[float] = 0.0

    async def send(self, notices: list[Notice]) -> None:
        for alert, *_ in notices:
            await self.endpoint.send(msgspec.json.encode(self._message(alert)), {})

    def _message(self, alert: Alert) -> dict[str, Any]:
        colour = "Good" if alert.state == "resolved" else _COLOURS[alert.severity]
        facts = text.facts(alert) | {"Evidence": text.evidence(alert)}
        card: dict[str, Any] = {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "body": [
                _text(text.title(alert), size="Large", weight="Bolder", color=colour),
                _text(alert.summary),
                {
                    "type": "FactSet",
                    "facts": [{"title": name, "value": value} for name, value in facts.items()],
                },
                _text(text.next_step(alert), isSubtle=True),
            ],
        }
        if self.runbook_url:
            card["actions"] = [
                {"type": "Action.OpenUrl", "title": "Runbook", "url": self.runbook_url}
            ]
        return {
            "type": "message",
            "attachments": [
                {
                    "contentType": "application/vnd.microsoft.card.adaptive",
                    "contentUrl": None,
                    "content": card,
                }
            ],
        }


def _text(words: str, **style: Any) -> dict[str, Any]:
    return {"type": "TextBlock", "text": words, "wrap": True, **style}
