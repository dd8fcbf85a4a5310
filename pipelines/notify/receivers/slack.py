"""Slack: a message in a channel, by an incoming webhook.

An incoming webhook cannot change a message and knows no dedup key. So every change of an alert is a
message of its own, and one whose answer is lost on the way appears twice.
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

_COLOURS: Mapping[Severity, str] = {"critical": "#c4314b", "warning": "#e8a317", "info": "#4a86c5"}
_RESOLVED = "#3b8f4e"


@dataclass(frozen=True, slots=True)
class Slack:
    """POSTs messages to the URL of an incoming webhook."""

    endpoint: Endpoint
    name: str = "slack"
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
        title = text.title(alert)
        facts = [_text(f"*{name}*\n{_escape(value)}") for name, value in text.facts(notice).items()]
        note = _escape(text.next_step(alert))
        for name, url in self.links.of(alert).items():
            note += f" · <{url}|{text.LINKS[name]}>"
        blocks: list[dict[str, Any]] = [
            {"type": "header", "text": {"type": "plain_text", "text": text.cut(title, 150)}},
            {"type": "section", "text": _text(text.cut(_escape(alert.summary), 3000))},
            {"type": "section", "fields": facts[:10]},
            {"type": "context", "elements": [_text(text.cut(note, 3000))]},
        ]
        if evidence := text.evidence(alert):
            lines = "\n".join(f"{name}: {value}" for name, value in evidence.items())
            blocks.insert(3, {"type": "context", "elements": [_text(_escape(lines))]})
        colour = _RESOLVED if alert.state == "resolved" else _COLOURS[alert.severity]
        return {"text": _escape(title), "attachments": [{"color": colour, "blocks": blocks}]}


def _text(markdown: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": markdown}


def _escape(plain: str) -> str:
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
