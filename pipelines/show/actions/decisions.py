"""Show decisions as they apply, and what people have set."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from monitor.alerting.alerts import Action
from monitor.alerting.enforcement import Switch
from pipelines.inspect.decisions import Applied, DecisionList, Enforcement, Held
from pipelines.show.style import count, date_time, default_console

_LINE = "{:26}  {:9}  {:12}  {}"
_ACTION_STYLES = {"block": "red", "challenge": "red", "throttle": "yellow", "mark": "cyan"}
WORDS: dict[Held, str] = {
    "": "enforced",
    "operator": "enforced, by a person",
    "capped": "hourly caps",
    "kill": "not enforced: kill switch",
    "shadow": "not enforced: shadow mode",
    "allowed": "not enforced: allow-list",
    "withdrawn": "not enforced: withdrawn",
    "unknown": "unknown whether enforced",
}


def show(found: DecisionList, console: Console | None = None, *, top: int = 50) -> None:
    """Print the first decisions, and what holds them back."""
    console = console or default_console()
    console.print(text_of(found.enforcement))
    if found.decisions:
        console.print(Text("Decisions in force, times in UTC", "bold"))
        console.print(Text(_LINE.format("subject", "decision", "until", "applies"), "dim"))
    for each in found.decisions[:top]:
        console.print(_line(each), soft_wrap=True)
    if len(found.decisions) > top:
        console.print(f"… and {len(found.decisions) - top:,} more (--top).")
    if found.decisions:
        console.print()
    enforced = sum(each.action != "observe" for each in found.decisions)
    unknown = sum(each.why == "unknown" for each in found.decisions)
    console.print(
        f"{count(len(found.decisions), 'decision')}, {enforced:,} enforced"
        + (f", {unknown:,} unknown." if unknown else ".")
    )


def show_one(found: Applied, console: Console | None = None) -> None:
    """Print what applies to one subject."""
    console = console or default_console()
    console.print(_line(found), soft_wrap=True)
    console.print(f"  {_origin(found)}", soft_wrap=True)


def words(why: Held, action: Action, decided: Action) -> str:
    """Whether a decision applies, and if not, why."""
    if decided == "observe":
        return "lifted by a person"
    return f"{action}: {WORDS[why]}" if why == "capped" else WORDS[why]


def text_of(enforcement: Enforcement) -> Text:
    """Switches and allow-list, a line each."""
    text = Text()
    switches = enforcement.switches
    kill = switches.get("kill")
    if kill is not None and kill.on:
        text.append("Kill switch ON: nothing is enforced", "bold red")
        text.append(f"{_by(kill)}.\n", "not bold")
    text.append("Shadow mode: ", "bold").append(_shadow(enforcement), "not bold").append("\n")
    for name, switch in switches.items():
        if name.startswith("shadow:"):
            state = "on" if switch.on else "off"
            text.append(f"Shadow mode of {name[7:]}: {state}{_by(switch)}.\n", "not bold")
    caps = switches.get("caps")
    if caps is not None:
        state = "apply" if caps.on else "are lifted"
        text.append(f"Caps {state}{_by(caps)}.\n", "not bold")
    if enforcement.allowed:
        text.append("Allow-list:\n", "bold")
    for each in enforcement.allowed:
        text.append(
            f"  {each.subject:26}  until {date_time(each.expires_at)}  {each.owner}: {each.why}\n",
            "not bold",
        )
    return text


def _shadow(enforcement: Enforcement) -> str:
    switch, setting = enforcement.switches.get("shadow"), enforcement.setting
    if switch is not None:
        state = "on, decisions are not enforced" if switch.on else "off, decisions are enforced"
        return f"{state}{_by(switch)}."
    if setting is None:
        return "unknown. No running worker reports its setting, or workers differ."
    state = "on, decisions are not enforced" if setting else "off, decisions are enforced"
    return f"{state} (XM_DECISIONS__SHADOW)."


def _by(switch: Switch) -> str:
    until = f", until {date_time(switch.until)} UTC" if switch.until is not None else ""
    return f" ({switch.who} at {date_time(switch.at)} UTC{until}: {switch.why})"


def _line(found: Applied) -> Text:
    decided = found.decided if found.why != "operator" else found.action
    text = Text(f"{found.subject:26}  ")
    text.append(f"{decided:9}", _ACTION_STYLES.get(decided, "")).append("  ")
    return text.append(f"{date_time(found.until)}  {words(found.why, found.action, found.decided)}")


def _origin(found: Applied) -> str:
    throttled = found.rate is not None and "throttle" in (found.action, found.decided)
    rate = f", {found.rate:g} requests per minute" if throttled else ""
    if found.origin == "operator":
        return f"decided by a person, audit entry {found.reason}{rate}"
    origin = {"detector": "its own alert"}.get(found.origin, f"an alert of its {found.origin}")
    return f"follows from {origin} {found.reason} ({found.kind or 'unknown kind'}){rate}"
