"""Microsoft Teams: an adaptive card in a channel, by a workflow that takes webhook requests.

The workflow knows no dedup key. So every change of an alert is a card of its own, and one whose
answer is lost on the way appears twice.
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
    links: Links = NONE
    batch: ClassVar[int] = 1
    groups: ClassVar[bool] = True
    inhibits: ClassVar[bool] = False
    takes_updates: ClassVar[bool] = False
    refresh_seconds: ClassVar[float] = 0.0

    async def send(self, notices: list[Notice]) -> None:
        for notice in notices:
            await self.endpoint.send(msgspec.json.encode(self._message(notice)), {})

    def _message(self, notice: Notice) -> dict[str, Any]:
        alert = notice.alert
        colour = "Good" if alert.state == "resolved" else _COLOURS[alert.severity]
        facts = text.facts(notice) | text.evidence(alert)
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
        links = self.links.of(alert)
        if links:
            card["actions"] = [
                {"type": "Action.OpenUrl", "title": text.LINKS[name], "url": url}
                for name, url in links.items()
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
