"""Show the audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from monitor.alerting.changes import Change
from pipelines.show.style import count, date_time, default_console


def show(changes: Sequence[Change], console: Console | None = None) -> None:
    """Print changes, the oldest first."""
    console = console or default_console()
    for change in changes:
        console.print(_text(change), soft_wrap=True)
    console.print(f"{count(len(changes), 'change')}. Times are in UTC.")


def show_one(change: Change, console: Console | None = None) -> None:
    """Print one change."""
    (console or default_console()).print(_text(change), soft_wrap=True)


def _text(change: Change) -> Text:
    text = Text(f"{date_time(change.at)}  ").append(f"{change.what}  ", "bold")
    text.append(f"{change.subject}  ".lstrip(), "not bold").append(change.id, "dim")
    if change.reference not in ("", change.subject):
        text.append(f"  {change.reference}", "dim")
    text.append(f"\n  {change.who}: {change.why}", "not bold")
    if change.before is None and change.after is None:
        return text
    return text.append(f"\n  {brief(change.before)} → {brief(change.after)}", "dim")


def brief(state: Any) -> str:
    """A state before or after a change in a few words."""
    match state:
        case None:
            return "nothing"
        case list():
            return ", ".join(map(brief, state))
        case {"on": on}:
            return "on" if on else "off"
        case {"action": action, "expires_at": float(until), **rest}:
            kind = f" ({rest['kind']})" if rest.get("kind") else ""
            rate = f" at {rest['rate']:g} per minute" if rest.get("rate") else ""
            return f"{action}{rate}{kind} until {date_time(until)}"
        case {"action": action, "keys": int(keys), "until": float(until)}:
            return f"{action} {count(keys, 'key')}, to be approved by {date_time(until)}"
        case {"owner": owner, "expires_at": float(until)}:
            return f"allowed for {owner} until {date_time(until)}"
        case {"keys": int(keys), "share": float(share)}:
            return f"{count(keys, 'key')} and {share:.0%} of requests"
        case {"subject": _, "until": float(until)}:
            return f"silenced until {date_time(until)}"
        case {"severity": severity, "kind": kind}:
            return f"{severity} {kind} withdrawn"
        case _:
            return str(state)
