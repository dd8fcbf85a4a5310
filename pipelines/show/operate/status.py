"""Show the state of the running system."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import fill

from rich.console import Console
from rich.text import Text

from monitor.alerting.alerts import SEVERITIES
from monitor.store.operate.processes import Process, ReceiverHealth
from pipelines.health.deployment import DRIFT, MOST_DRIFT, Problem, RoleSummary, duration
from pipelines.health.status import Status, since
from pipelines.show.style import SEVERITY_STYLES, date_time, default_console

_STATES = {"ok": "bold green", "degraded": "bold yellow", "down": "bold red"}
_ROLE = "  {:8} {:>9}  {:>10} {:>10}  {}"
_PROCESS = "  {:8} {:>7}  {:8}  {:>7}  {}"
_MOST_DRIFTS = 5  # statistics


def show(found: Status, console: Console | None = None) -> None:
    """Print the verdict first, then what is wrong, then the rest."""
    console = console or default_console()
    console.print(_wrapped(found.verdict, console.width), style=_STATES[found.state])
    for problem in found.problems:
        console.print(_problem(problem, console.width))
    lines = Text("\n").append("Store      ", "bold").append(f"Redis at {found.redis} answers\n")
    lines.append("Decisions  ", "bold").append(f"{found.mode}\n")
    lines.append("           ").append(_enforced(found.enforced))
    console.print(lines, soft_wrap=True)
    console.print(_alerts(found.open_alerts), soft_wrap=True)
    console.print(_roles(found.roles), soft_wrap=True)
    console.print(_processes([*found.processes, *found.gone], found), soft_wrap=True)
    console.print(_receivers(found.receivers, found.at), soft_wrap=True)
    console.print(_drift(found.drift), soft_wrap=True)
    for error in found.errors:
        console.print(Text(_wrapped(f"Logged as an error: {error}", console.width), "dim"))


def _wrapped(text: str, width: int, indent: str = "") -> str:
    return fill(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,  # names of hosts and commands can be copied
    )


def _problem(problem: Problem, width: int) -> Text:
    text = Text()
    style = SEVERITY_STYLES[problem.level]
    text.append(_wrapped(f"{problem.level}: {problem.what}", width, "  "), style)
    return text.append("\n").append(_wrapped(problem.remedy, width, "    "))


def _enforced(enforced: dict[str, int] | None) -> str:
    if enforced is None:
        return "no process answers gateways"
    parts = [f"{count:,} {action}" for action, count in reversed(enforced.items())]
    return f"enforced now: {', '.join(parts) or 'none'}"


def _alerts(alerts: dict[str, dict[str, int]]) -> Text:
    text = Text("Open       ", "bold")
    lines = [
        f"{kind}: "
        + ", ".join(f"{numbers[each]:,} {each}" for each in reversed(SEVERITIES) if each in numbers)
        for kind, numbers in alerts.items()
        if any(numbers.values())
    ]
    return text.append("\n           ".join(lines) or "no alerts", "not bold")


def _roles(roles: list[RoleSummary]) -> Text:
    text = Text("Roles\n", "bold")
    heading = _ROLE.format("role", "processes", "partitions", "waiting", "event time reached (UTC)")
    text.append(heading, "not bold dim")
    for each in roles:
        clock = date_time(each.clock) if each.clock else ""
        line = _ROLE.format(each.role, each.alive, each.partitions, f"{each.lag:,}", clock)
        text.append(f"\n{line.rstrip()}", "not bold" if each.alive else "not bold yellow")
    return text


def _processes(processes: list[Process], found: Status) -> Text:
    text = Text("Processes\n", "bold")
    text.append(_PROCESS.format("role", "pid", "version", "up for", "host"), "not bold dim")
    alive = {each.id for each in found.processes}
    for each in processes:
        up = since(each, found.at) if each.id in alive else "gone"
        line = _PROCESS.format(",".join(each.roles), each.pid, each.version, up, each.host)
        text.append(f"\n{line}", "not bold" if each.id in alive else "not bold red")
    return text


def _receivers(receivers: list[ReceiverHealth], now: float) -> Text:
    text = Text("Receivers  ", "bold")
    return text.append("\n           ".join(_lines(receivers, now)), "not bold")


def _lines(receivers: list[ReceiverHealth], now: float) -> Iterator[str]:
    if not receivers:
        yield "none: alerts are only in their topic"
    for each in receivers:
        last = f"last alert {duration(now - each.accepted_at)} ago" if each.accepted_at else ""
        waiting = f"{each.waiting:,} waiting" if each.waiting else ""
        state = "up" if each.up else f"DOWN: {each.reason}"
        yield ", ".join(part for part in (f"{each.name}: {state}", waiting, last) if part)


def _drift(drift: dict[str, float]) -> Text:
    text = Text("Drift      ", "bold")
    if not drift:
        return text.append("no worker reports it yet", "not bold")
    shown = [
        f"{name} {value:.2f}{_judged(value)}" for name, value in [*drift.items()][:_MOST_DRIFTS]
    ]
    return text.append(
        f"PSI against the reference, largest of {len(drift)}: {', '.join(shown)}", "not bold"
    )


def _judged(value: float) -> str:
    return " (large)" if value > MOST_DRIFT else " (moderate)" if value > DRIFT else ""
