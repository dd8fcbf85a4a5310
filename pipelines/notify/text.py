"""An alert in words, the same for all receivers that people read."""

from __future__ import annotations

from datetime import UTC, datetime

from monitor.alerting.alerts import Alert
from pipelines.notify.incidents.notice import Notice
from pipelines.notify.incidents.words import evidence

__all__ = ["cut", "evidence", "facts", "message_id", "next_step", "rfc3339", "title", "utc"]

_CHANGES = {"open": "opened", "update": "more severe", "resolved": "resolved"}
LINKS = {"runbook_url": "Runbook", "dashboard_url": "Dashboard", "console_url": "Console"}


def title(alert: Alert) -> str:
    """One line: severity, kind, subject and what happened.

    The subject is a pseudonym, or the id of a campaign.
    """
    return f"[{alert.severity}] {alert.kind} {alert.subject.id} {_CHANGES[alert.state]}"


def facts(notice: Notice) -> dict[str, str]:
    """What a person wants to know first, by name."""
    alert = notice.alert
    found = {
        "Severity": alert.severity,
        "Kind": ", ".join(notice.kinds or (alert.kind,)),
        "Subject": f"{alert.subject.id} ({alert.subject.type.replace('_', ' ')})",
        "Decision": alert.decision,
        "Since": utc(alert.window[0]),
        "Detected": utc(alert.detected_at),
        "Alert": alert.id,
    }
    if alert.subject.members:
        found["Members"] = str(len(alert.subject.members))
    return found


def next_step(alert: Alert) -> str:
    """What to do, with the commands to paste."""
    subject, show = alert.subject.id, "xm explain"
    if alert.subject.type == "campaign":
        show = "xm campaigns show"
    steps = [f"See why: {show} {subject}"]
    if alert.state == "resolved":
        return f"{steps[0]}."
    if alert.subject.type != "campaign":
        steps.append(f"Stop it: xm decisions add {subject} --action block --for 4h --why …")
    steps.append(f"If it is no attack: xm alerts withdraw {alert.id} --why …")
    return ". ".join(steps)


def utc(seconds: float) -> str:
    """Event time in UTC, to the minute.

    >>> utc(1772040000.0)
    '2026-02-25 17:20 UTC'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def rfc3339(seconds: float) -> str:
    """
    >>> rfc3339(1772040000.0)
    '2026-02-25T17:20:00.000+00:00'
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def cut(text: str, longest: int) -> str:
    """A text of at most `longest` characters."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def message_id(alert: Alert) -> str:
    """The identity of a message: the same whenever it is sent again."""
    return f"{alert.id}.{alert.state}.{alert.detected_at:.3f}"
