"""Show alerts, silences, and what receivers did with alerts."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from monitor.store.alert_book import Silence
from pipelines.notify.listing import AlertView, Delivered
from pipelines.notify.redeliver import Redelivery
from pipelines.notify.text import next_step, utc
from pipelines.notify.trial import Trial
from pipelines.show.style import SEVERITY_STYLES, count, default_console

_LINE = "{:22}  {:8}  {:8}  {:<16}  {}"
_OUTCOMES = {
    "delivered": "delivered",
    "known": "delivered before",
    "refused": "refused",
    "away": "not available",
    "no_route": "no such receiver in the settings",
}


def show_list(found: Sequence[AlertView], console: Console | None = None) -> None:
    """Print two lines per alert."""
    console = console or default_console()
    if not found:
        console.print("No alerts.")
        return
    heading = _LINE.format("alert", "severity", "state", "opened (UTC)", "kind")
    text = Text(f"{heading}\n", "dim")
    for each in found:
        alert = each.alert
        state = "resolved" if alert.state == "resolved" else "open"
        opened = utc(alert.detected_at).removesuffix(" UTC")
        line = _LINE.format(alert.id, alert.severity, state, opened, alert.kind)
        text.append(f"{line}\n", SEVERITY_STYLES[alert.severity] if state == "open" else "")
        text.append(f"  {alert.summary}\n")
        text.append(f"  {_status(each)}\n", "dim")
    text.rstrip()
    console.print(text)


def _status(view: AlertView) -> str:
    got = dict.fromkeys(each.receiver for each in view.deliveries if each.accepted)
    parts = [f"decision {view.alert.decision}", f"sent to {', '.join(got) or 'nobody'}"]
    missed = dict.fromkeys(each.receiver for each in view.deliveries if not each.accepted)
    if missed:
        parts.append(f"not accepted by {', '.join(missed)}")
    if view.silence:
        parts.append("silenced")
    if view.withdrawal:
        parts.append("withdrawn")
    return "; ".join(parts)


def show_alert(view: AlertView, console: Console | None = None) -> None:
    """Print one alert."""
    console = console or default_console()
    alert, subject = view.alert, view.alert.subject
    text = Text(f"{alert.id}: {alert.severity} {alert.kind}, {alert.state}\n", "bold")
    text.append(f"{alert.summary}\n\n", "not bold")
    facts = {
        "subject": f"{subject.id} ({subject.type.replace('_', ' ')})",
        "members": f"{len(subject.members)}" if subject.members else "",
        "evidence from": f"{utc(alert.window[0])} to {utc(alert.window[1])}",
        "detected": f"{utc(alert.detected_at)} (event time)",
        "entered": f"{utc(view.opened_at)}, last change {utc(view.changed_at)}",
        "decision": alert.decision,
    }
    if view.silence:
        quiet = view.silence
        facts["silenced"] = f"until {utc(quiet.until)} by {quiet.who}: {quiet.why}"
    if view.withdrawal:
        taken = view.withdrawal
        facts["withdrawn"] = f"{utc(taken.at)} by {taken.who}: {taken.why}"
    for name, value in facts.items():
        if value:
            text.append(f"{name:14}{value}\n", "not bold")
    text.append("\nEvidence\n", "bold")
    for name, number in alert.evidence.items():
        text.append(f"  {name:32}{number:.6g}\n", "not bold")
    text.append("\nDeliveries\n", "bold")
    for each in view.deliveries:
        text.append(f"  {_delivery(each)}\n", "not bold")
    if not view.deliveries:
        text.append("  none\n", "not bold")
    text.append(f"\n{next_step(alert)}", "not bold")
    console.print(text)


def _delivery(each: Delivered) -> str:
    outcome = "accepted" if each.accepted else "not accepted"
    return f"{utc(each.at)}  {each.receiver:16}  {each.state:8}  {each.severity:8}  {outcome}"


def show_silences(found: Sequence[Silence], console: Console | None = None) -> None:
    """Print silences."""
    console = console or default_console()
    if not found:
        console.print("No silences.")
    for each in found:
        what = " ".join(part for part in (each.kind, each.subject) if part)
        console.print(f"{each.id}  until {utc(each.until)}  {what}", markup=False)
        console.print(f"  {each.who}: {each.why}", markup=False)


def show_trials(tried: Sequence[Trial], console: Console | None = None) -> None:
    """Print what receivers did with a test alert."""
    console = console or default_console()
    for each in tried:
        outcome = f"failed: {each.failure}" if each.failure else f"accepted in {each.seconds:.1f} s"
        console.print(f"{each.receiver:16}  {outcome}", markup=False)


def show_redeliveries(done: Sequence[Redelivery], console: Console | None = None) -> None:
    """Print what became of dead letters."""
    console = console or default_console()
    fresh = [each for each in done if each.outcome != "known"]
    for each in fresh:
        reason = f": {each.reason}" if each.reason else ""
        outcome = f"{_OUTCOMES[each.outcome]}{reason}"
        console.print(f"{each.receiver:16}  {each.alert}  {each.state:8}  {outcome}", markup=False)
    delivered = sum(each.outcome == "delivered" for each in done)
    console.print(
        f"{count(len(done), 'undelivered alert')}: {delivered} delivered now, "
        f"{len(done) - len(fresh)} before, {len(fresh) - delivered} not accepted."
    )
