"""What the vendors document of the bodies that their APIs take, as JSON schemas.

PagerDuty: Events API v2. Opsgenie: Alert API. Slack: incoming webhooks and Block Kit. Microsoft:
adaptive cards 1.4 in a message for a workflow. Alertmanager: API v2, `postableAlerts`.
"""

from __future__ import annotations

from typing import Any


def text(longest: int | None = None) -> dict[str, Any]:
    return {"type": "string", "minLength": 1} | ({"maxLength": longest} if longest else {})


def record(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """An object with these members and no others."""
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def several(of: dict[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "items": of, "minItems": 1, "maxItems": most}


TIME = {"type": "string", "format": "date-time"}
URL = {"type": "string", "format": "uri", "pattern": "^https?://"}
STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}

ALERTMANAGER = several(
    record(
        {
            "labels": {
                "type": "object",
                "required": ["alertname"],
                "propertyNames": {"pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"},
                "additionalProperties": text(),
            },
            "annotations": STRINGS,
            "startsAt": TIME,
            "endsAt": TIME,
        },
        generatorURL=URL,
    ),
    1000,
)

PAGERDUTY = {
    "oneOf": [
        record(
            {
                "routing_key": text(),
                "event_action": {"const": "trigger"},
                "dedup_key": text(255),
                "payload": record(
                    {
                        "summary": text(1024),
                        "source": text(),
                        "severity": {"enum": ["critical", "error", "warning", "info"]},
                    },
                    timestamp=TIME,
                    component=text(),
                    group=text(),
                    custom_details={"type": "object"},
                    **{"class": text()},
                ),
            },
            client=text(),
            client_url=URL,
            links=several(record({"href": URL}, text=text()), 100),
        ),
        record(
            {
                "routing_key": text(),
                "event_action": {"const": "resolve"},
                "dedup_key": text(255),
            }
        ),
    ]
}

OPSGENIE = record(
    {"message": text(130)},
    alias=text(512),
    description=text(15_000),
    entity=text(512),
    source=text(100),
    tags=several(text(50), 20),
    details=STRINGS,
    priority={"enum": ["P1", "P2", "P3", "P4", "P5"]},
)
OPSGENIE_CLOSE = record({}, source=text(100), user=text(100), note=text(25_000))
OPSGENIE_PRIORITY = record({"priority": {"enum": ["P1", "P2", "P3", "P4", "P5"]}})

_MRKDWN = record({"type": {"const": "mrkdwn"}, "text": text(3000)})
_SHORT_MRKDWN = record({"type": {"const": "mrkdwn"}, "text": text(2000)})
_PLAIN = record({"type": {"const": "plain_text"}, "text": text(150)})
_BLOCK = {
    "oneOf": [
        record({"type": {"const": "header"}, "text": _PLAIN}),
        record({"type": {"const": "section"}, "text": _MRKDWN}),
        record({"type": {"const": "section"}, "fields": several(_SHORT_MRKDWN, 10)}),
        record({"type": {"const": "context"}, "elements": several(_MRKDWN, 10)}),
    ]
}
SLACK = record(
    {"text": text(40_000)},
    attachments=several(
        record(
            {"blocks": several(_BLOCK, 50)},
            color={"type": "string", "pattern": "^#[0-9a-f]{6}$"},
        ),
        100,
    ),
)

_TEXT_BLOCK = record(
    {"type": {"const": "TextBlock"}, "text": text()},
    wrap={"type": "boolean"},
    isSubtle={"type": "boolean"},
    size={"enum": ["Default", "Small", "Medium", "Large", "ExtraLarge"]},
    weight={"enum": ["Default", "Lighter", "Bolder"]},
    color={"enum": ["Default", "Dark", "Light", "Accent", "Good", "Warning", "Attention"]},
)
_FACT_SET = record(
    {
        "type": {"const": "FactSet"},
        "facts": several(record({"title": text(), "value": {"type": "string"}}), 100),
    }
)
_OPEN_URL = record({"type": {"const": "Action.OpenUrl"}, "url": URL}, title=text())
TEAMS = record(
    {
        "type": {"const": "message"},
        "attachments": several(
            record(
                {
                    "contentType": {"const": "application/vnd.microsoft.card.adaptive"},
                    "content": record(
                        {
                            "type": {"const": "AdaptiveCard"},
                            "version": {"const": "1.4"},
                            "body": several({"oneOf": [_TEXT_BLOCK, _FACT_SET]}, 100),
                        },
                        actions=several(_OPEN_URL, 6),
                        **{"$schema": URL},
                    ),
                },
                contentUrl={"type": ["string", "null"]},
            ),
            1,
        ),
    }
)
