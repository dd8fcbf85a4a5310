"""An alert in words, the same for all receivers that people read."""

from __future__ import annotations

from datetime import UTC, datetime

from monitor.alerting.alerts import Alert

_CHANGES = {"open": "opened", "update": "more severe", "resolved": "resolved"}
_EVIDENCE = 12  # numbers


def title(alert: Alert) -> str:
    """One line: severity, kind, subject and what happened.

    The subject is a pseudonym, or the id of a campaign.
    """
    return f"[{alert.severity}] {alert.kind} {alert.subject.id} {_CHANGES[alert.state]}"


def facts(alert: Alert) -> dict[str, str]:
    """What a person wants to know first, by name."""
    found = {
        "Severity": alert.severity,
        "Kind": alert.kind,
        "Subject": f"{alert.subject.id} ({alert.subject.type.replace('_', ' ')})",
        "Decision": alert.decision,
        "Since": utc(alert.window[0]),
        "Detected": utc(alert.detected_at),
        "Alert": alert.id,
    }
    if alert.subject.members:
        found["Members"] = str(len(alert.subject.members))
    return found


def evidence(alert: Alert) -> str:
    """The first numbers of the evidence, `name=value`, separated by commas."""
    return ", ".join(f"{name}={n:g}" for name, n in list(alert.evidence.items())[:_EVIDENCE])


def next_step(alert: Alert) -> str:
    """The commands that show why, and that take the alert back."""
    show = "campaigns show" if alert.subject.type == "campaign" else "explain"
    why = f"Why: xm {show} {alert.subject.id}"
    if alert.state == "resolved":
        return why
    return f"{why}. If it is no attack: xm alerts withdraw {alert.id} --why …"


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
