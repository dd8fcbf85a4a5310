"""Phrases and alerts that the facts of keys and campaigns have in common."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
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


def latest(messages: Iterable[Alert]) -> list[Alert]:
    """Of each alert the last message with its evidence, and the one that resolved it.

    Redis keeps no more of an open alert, so a replay must not say more of it.
    """
    found = []
    for states in by_alert(in_order(messages)).values():
        found += [each for each in states if each.state != "resolved"][-1:]
        found += [each for each in states if each.state == "resolved"][-1:]
    return in_order(found)


def raised(messages: Iterable[Alert]) -> Alert | None:
    """The message of an alert that has its evidence; `None` if only its end is known."""
    return next((each for each in messages if each.state != "resolved"), None)


def most_severe(severities: Iterable[Severity | None]) -> Severity | None:
    """The highest of some severities; `None` without any."""
    return max((each for each in severities if each), key=SEVERITIES.index, default=None)


def moments(messages: Iterable[Alert], opened: Mapping[str, float]) -> list[Moment]:
    """What alerts add to the timeline.

    Args:
        opened: when alerts opened, by id.
    """
    found = []
    for id, states in by_alert(messages).items():
        last, seen = states[-1], raised(states)
        if id in opened:
            found.append(Moment(opened[id], f"The alert {last.kind} opened."))
        if seen is not None:
            said = seen.summary.removeprefix(f"{seen.subject.id}: ")
            text = f"The alert {seen.kind} was {seen.severity}: {said}"
            found.append(Moment(seen.detected_at, text))
        if last.state == "resolved":
            found.append(Moment(last.detected_at, f"The alert {last.kind} ended."))
    return found


def decisions(messages: Iterable[Alert]) -> list[DecisionFact]:
    """The decisions that alerts led to when they opened or last became more severe."""
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
