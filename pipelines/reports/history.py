"""What happened in a case and what people did about it, as parts of documents."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from monitor.alerting.alerts import ACTIONS, Alert, State
from monitor.alerting.changes import Change
from monitor.evidence.entries import (
    AlertSeen,
    Appealed,
    Changed,
    Closed,
    Entry,
    Exported,
    Letter,
    Noted,
    Opened,
    Reopened,
    Ruled,
    Traced,
)
from pipelines.reports import words
from pipelines.reports.blocks import Block, Column, Pair, Pairs, Quote, Row, Sources, Table, Text
from pipelines.reports.evidence import Evidence

_STATES: dict[State, str] = {
    "open": "Alert opened",
    "update": "Alert updated",
    "resolved": "Alert ended",
}
_CHANGES = {  # by what a person changed
    "allow": "put on the allow-list",
    "disallow": "removed from the allow-list",
    "decide": "decided by hand",
    "delete": "removed the decision",
    "withdraw": "withdrew the alert",
    "reinstate": "reinstated the alert",
    "silence": "silenced notifications",
    "kill": "switched all enforcement",
    "shadow": "changed shadow mode",
    "caps": "changed the limits of enforcement",
    "cap": "held back decisions, a limit was reached",
    "case": "changed the case",
}


def timeline(
    evidence: Evidence, most: int | None = None, *, of_members: bool = True
) -> list[Block]:
    """All moments in order: of the stream, and of what people did.

    Args:
        most: rows to list.
        of_members: whether to list each alert about a member; else the first and the last.
    """
    moments = [*_of_stream(evidence, of_members=of_members)]
    moments += [(each.at, _said(each), (each.number,)) for each in evidence.case.entries]
    moments = sorted((each for each in moments if each[1]), key=lambda each: each[0])
    shown = moments if most is None or len(moments) <= most else moments[:most]
    rows = [Row([words.moment(at), text], cited) for at, text, cited in shown]
    blocks: list[Block] = [Table([Column("When", 20), Column("What", 68)], rows)]
    if len(moments) > len(shown):
        blocks.append(Text("Later moments are in the case file, in the entries after these."))
    return blocks


def _of_stream(evidence: Evidence, *, of_members: bool) -> Iterator[tuple[float, str, Sources]]:
    """Alerts, and the moments of the facts that are none."""
    facts, source = evidence.facts, evidence.facts_source
    alerts: dict[tuple[str, str, float], tuple[Alert, Sources]] = {}
    for alert in facts.alerts if facts else []:
        alerts[alert.id, alert.state, alert.detected_at] = alert, source
    for entry, seen in evidence.of(AlertSeen):
        alert = seen.alert
        alerts[alert.id, alert.state, alert.detected_at] = alert, (entry.number,)
    others = []
    for alert, cited in alerts.values():
        about = f"{words.kind(alert.kind)} ({words.SEVERITIES[alert.severity]})"
        moment = f"{_STATES[alert.state]}: {about}, on {alert.subject.id}."
        if of_members or alert.subject.id == evidence.case.subject:
            yield alert.detected_at, moment, cited
        else:
            others.append((alert.detected_at, cited))
    others.sort()
    if others:
        (first, first_cited), (last, last_cited) = others[0], others[-1]
        yield first, "The first alert about a single member.", first_cited
        yield last, "The last alert about a single member so far.", last_cited
    raised = {(alert.detected_at, alert.kind) for alert, _ in alerts.values()}
    for each in facts.timeline if facts else []:
        found = re.match(r"The alert (\w+) (.*)", each.text)
        if found is None:
            yield each.at, each.text, source
        elif (each.at, found[1]) not in raised:
            yield each.at, f"Alert ({words.kind(found[1])}) {found[2]}", source


def _said(entry: Entry) -> str:
    """An entry in one sentence for the timeline; empty for one that is listed elsewhere."""
    who = "The monitor" if entry.who == "monitor" else entry.who
    match entry.body:
        case Opened(reason=reason):
            return f"{who} opened the case: {reason}"
        case Changed(change):
            return f"{change.who} {_CHANGES.get(change.what, change.what)}: {change.subject}."
        case Letter(subject=subject):
            return f"{who} wrote a letter about {subject}."
        case Appealed():
            return f"{who} recorded the customer's appeal."
        case Ruled(result=result):
            return f"{who} {result} the decision."
        case Traced(model=model):
            return f"{who} tested outputs of the model {model}."
        case Closed(outcome, reason):
            return f"{who} closed the case as {outcome}: {reason}"
        case Reopened(reason):
            return f"{who} reopened the case: {reason}"
        case Exported():
            return f"{who} exported the case."
        case _:
            return ""


def decided(evidence: Evidence) -> list[Block]:
    """The monitor's decisions, counted, then everything that people changed."""
    blocks: list[Block] = []
    decisions = evidence.facts.decisions if evidence.facts else []
    subjects: dict[str, set[str]] = {}
    first: dict[str, float] = {}
    for each in decisions:
        subjects.setdefault(each.action, set()).add(each.subject)
        first[each.action] = min(first.get(each.action, each.at), each.at)
    if subjects:
        rows = [
            Row(
                [words.ACTIONS[action], f"{len(subjects[action]):,}", words.moment(first[action])],
                evidence.facts_source,
            )
            for action in reversed(ACTIONS)
            if action in subjects
        ]
        columns = [
            Column("Decision of the monitor", 44),
            Column("Subjects", 14, right=True),
            Column("First at", 28),
        ]
        blocks.append(Table(columns, rows))
    else:
        blocks.append(Text("The facts contain no decision of the monitor.", evidence.facts_source))
    changes = list(evidence.of(Changed))
    if changes:
        blocks.append(changed([(entry, body.change) for entry, body in changes]))
    return blocks


def changed(changes: list[tuple[Entry, Change]]) -> Table:
    """What people changed, with who and why."""
    rows = [
        Row(
            [
                words.moment(change.at),
                change.who,
                f"{_CHANGES.get(change.what, change.what)}{_after(change.after)}",
                change.subject,
                change.why,
            ],
            (entry.number,),
        )
        for entry, change in changes
    ]
    columns = [
        Column("When", 16),
        Column("Who", 13),
        Column("Change", 18),
        Column("Subject", 21, code=True),
        Column("Why", 23),
    ]
    return Table(columns, rows)


def _after(after: Any) -> str:
    action = after.get("action") if isinstance(after, dict) else None
    return f": {words.ACTIONS[action]}" if action in words.ACTIONS else ""


def review(evidence: Evidence, *, texts: bool) -> list[Block]:
    """Letters, appeals and rulings.

    Args:
        texts: whether to quote letters and appeals, too.
    """
    blocks: list[Block] = []
    counts: Counter[str] = Counter()
    for entry in evidence.case.entries:
        source = (entry.number,)
        match entry.body:
            case Letter(reference, subject, text):
                counts["letter"] += 1
                if texts:
                    by = (
                        f"Letter {reference} about {subject}, {words.moment(entry.at)}, {entry.who}"
                    )
                    blocks.append(Quote(text, by, source))
            case Appealed(reference, text, received_at):
                counts["appeal"] += 1
                if texts:
                    received = words.moment(received_at)
                    by = f"Appeal to {reference}, received {received}, recorded by {entry.who}"
                    blocks.append(Quote(text, by, source))
            case Ruled(result, reason, _, subject):
                counts["ruling"] += 1
                about = subject or evidence.case.subject
                at = words.moment(entry.at)
                sentence = f"{at}: {entry.who} {result} the decision on {about}. Reason: {reason}"
                blocks.append(Text(sentence, source))
            case _:
                pass
    if not counts:
        return [Text("No customer was written to, and no decision was appealed or reviewed.")]
    rows = [
        Pair(label, f"{counts[name]:,}", tuple(sorted(_numbers(evidence, name))[:6]))
        for name, label in (
            ("letter", "Letters to customers"),
            ("appeal", "Appeals"),
            ("ruling", "Rulings"),
        )
    ]
    return [Pairs(rows), *blocks]


def _numbers(evidence: Evidence, name: str) -> list[int]:
    body = {"letter": Letter, "appeal": Appealed, "ruling": Ruled}[name]
    return [e.number for e in evidence.case.entries if isinstance(e.body, body)]


def notes(evidence: Evidence) -> list[Block]:
    """What people wrote down, word for word."""
    return [
        Quote(note.text, f"{entry.who}, {words.moment(entry.at)}", (entry.number,))
        for entry, note in evidence.of(Noted)
    ]
