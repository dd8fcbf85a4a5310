"""Show cases: the list, one case, one entry. Readable at 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from monitor.evidence.entries import (
    AlertSeen,
    AnyBody,
    Appealed,
    Changed,
    Closed,
    Entry,
    Exported,
    FactsTaken,
    Letter,
    Noted,
    Opened,
    Reopened,
    Ruled,
    Traced,
)
from monitor.evidence.rows import CaseRow
from pipelines.cases.desk import CaseView
from pipelines.show.actions.audit import brief
from pipelines.show.style import SEVERITY_STYLES, count, default_console

_INDENT = 6  # columns before what an entry says
_LINE = "{:21}  {:8}  {:7}  {:>7}  {:16}  {}"
_NAMES = {"api_key": "key", "account": "account", "end_user": "end user", "campaign": "campaign"}


def show_list(found: Sequence[CaseRow], console: Console | None = None) -> None:
    """Print two lines per case."""
    console = console or default_console()
    if not found:
        console.print("No cases.")
        return
    heading = _LINE.format("case", "severity", "status", "entries", "changed (UTC)", "opened by")
    text = Text(f"{heading}\n", "dim")
    for row in found:
        severity, by = row.severity or "none", row.opened_by
        line = _LINE.format(
            row.id, severity, row.status, f"{row.entries:,}", _time(row.changed_at), by
        )
        style = SEVERITY_STYLES.get(severity, "") if row.status == "open" else ""
        text.append(f"{line}\n", style or "not bold")
        text.append(f"  {_NAMES[row.type]} {row.subject}", "not bold")
        members = f", {count(row.members, 'member')}" if row.type == "campaign" else ""
        outcome = f", {row.outcome}" if row.outcome else ""
        appeals = f", {count(len(row.waiting), 'open appeal')}" if row.waiting else ""
        text.append(f"{members}{outcome}{appeals}: {row.reason}\n", "dim")
    text.rstrip()
    console.print(text)


def show(view: CaseView, console: Console | None = None) -> None:
    """Print one case."""
    console = console or default_console()
    row, case = view.row, view.case
    outcome = f", {row.outcome}" if row.outcome else ""
    text = Text(f"{row.id}: {row.status}{outcome}\n", "bold")
    text.append(f"{_NAMES[row.type]} {row.subject}: {row.reason}\n\n", "not bold")
    facts = case.facts
    lines = {
        "opened": f"{_time(row.opened_at)} UTC by {row.opened_by}",
        "severity": row.severity or "",
        "members": f"{row.members:,}" if row.type == "campaign" else "",
        "taken": _taken(view),
        "letters": ", ".join(row.references),
        "open appeals": ", ".join(row.waiting),
        "entries": _entries(view),
    }
    for name, value in lines.items():
        if value:
            text.append(f"{name:14}{value}\n", "not bold")
    if facts is not None:
        text.append(f"\n{facts.statement}\n", "not bold")
        for finding in facts.findings:
            text.append(f"  {finding.kind}: {finding.statement}\n", "not bold")
    for problem in view.problems:
        text.append(f"\nEntry {problem.entry}, {problem.kind}: {problem.text}", "red")
    if view.problems:
        text.append("\nDo not rely on this case. `xm case verify` says more.\n", "bold red")
    else:
        text.append("\nEntries, times in UTC", "bold")
    text.rstrip()
    console.print(text)
    for entry in case.entries:
        _print_entry(entry, console)


def show_entry(entry: Entry, console: Console | None = None) -> None:
    """Print an entry that was written."""
    console = console or default_console()
    console.print(Text(entry.case, "bold"))
    _print_entry(entry, console)


def _taken(view: CaseView) -> str:
    facts = view.case.facts
    if facts is None:
        return ""
    return f"{count(facts.requests, 'request')}, {count(facts.tokens, 'token')}"


def _entries(view: CaseView) -> str:
    if view.problems:
        return f"{view.row.entries:,}; NOT as they were signed"
    lacking = view.row.entries - view.copied
    kafka = "all in Kafka" if lacking <= 0 else f"{lacking:,} not in Kafka yet"
    return f"{view.row.entries:,}, whole and signed, {kafka}"


def _print_entry(entry: Entry, console: Console) -> None:
    kind, words = _words(entry.body)
    head = Text(f"{entry.number:>4}  {_time(entry.at)}  ")
    console.print(head.append(kind, "bold").append(f", {entry.who}", "dim"))
    for line in Text(words).wrap(console, max(console.width - _INDENT, _INDENT)):
        line.rstrip()
        console.print(Text(" " * _INDENT).append_text(line), soft_wrap=True)


def _words(body: AnyBody) -> tuple[str, str]:
    """The kind of an entry, and what it says."""
    match body:
        case Opened(reason=reason):
            return "opened", reason
        case AlertSeen(alert):
            return f"{alert.severity} alert {alert.state}", f"{alert.id} {alert.summary}"
        case FactsTaken(facts):
            return "facts", facts.statement
        case Changed(change):
            changes = f"{brief(change.before)} → {brief(change.after)}"
            return f"{change.what} {change.subject}", f"{changes}\n{change.why}"
        case Noted(text):
            return "note", text
        case Letter(reference, subject):
            return "letter", f"{reference} about {subject}"
        case Appealed(reference, text):
            return f"appeal {reference}", text
        case Ruled(result, reason, reference):
            return f"{result} {reference}".strip(), reason
        case Traced(model, result=result):
            return "trace", f"{model}: {', '.join(f'{k} {v}' for k, v in result.items())}"
        case Exported(manifest, reason):
            return "export", f"{reason} {manifest}".strip()
        case Closed(outcome, reason):
            return f"closed: {outcome}", reason
        case Reopened(reason):
            return "reopened", reason


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
