"""Phrases and alerts that the facts of keys and campaigns have in common."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime

from monitor.alerting.alerts import SEVERITIES, Alert, Severity
from monitor.detectors.base import counted
from monitor.evidence.facts import DecisionFact, Moment

_STATES = ("open", "update", "resolved")


def in_order(messages: Iterable[Alert]) -> list[Alert]:
    """Alert messages without repetitions, the oldest first."""
    found = {(each.id, each.state, each.detected_at): each for each in messages}
    return sorted(
        found.values(), key=lambda each: (each.detected_at, each.id, _STATES.index(each.state))
    )


def by_alert(messages: Iterable[Alert]) -> dict[str, list[Alert]]:
    """Ordered messages by the id of their alert."""
    found = defaultdict[str, list[Alert]](list)
    for message in messages:
        found[message.id].append(message)
    return dict(found)


def strongest(messages: Iterable[Alert]) -> Alert | None:
    """The last of the most severe messages of an alert that carry its evidence."""
    raised = [each for each in messages if each.state != "resolved"]
    return max(raised, key=lambda each: SEVERITIES.index(each.severity)) if raised else None


def most_severe(severities: Iterable[Severity | None]) -> Severity | None:
    """The highest of some severities; `None` without any."""
    return max((each for each in severities if each), key=SEVERITIES.index, default=None)


def moments(messages: Iterable[Alert]) -> list[Moment]:
    """What alerts add to the timeline."""
    done = {"open": "opened", "update": "became more severe or grew", "resolved": "ended"}
    return [
        Moment(
            each.detected_at,
            f"Alert {each.kind} ({each.severity}) {done[each.state]}: "
            f"{each.summary.removeprefix(f'{each.subject.id}: ')}",
        )
        for each in messages
    ]


def decisions(messages: Iterable[Alert]) -> list[DecisionFact]:
    """The decisions that alerts led to when they opened or became more severe."""
    return [
        DecisionFact(each.subject.id, each.decision, each.detected_at, each.id)
        for each in messages
        if each.decision != "observe"
    ]


def volume(requests: int, tokens: int) -> str:
    """Requests and tokens in words."""
    return f"{counted(requests, 'request')} with {counted(tokens, 'token')}"


def span(first: float, last: float) -> str:
    """A period in words, UTC."""
    return f"between {_time(first)} and {_time(last)} UTC"


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"


def sentence(text: str) -> str:
    """A text with a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
