"""Show an explanation of a key: a verdict, a gauge of all detectors, their evidence, the activity.

It fits 80 columns. On a wide terminal the parts stand side by side.
"""

from __future__ import annotations

import math

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from monitor.alerting.alerts import SEVERITIES
from monitor.detectors.base import Unit
from monitor.records.profile import HOUR
from pipelines.inspect.key import QUANTILES, DetectorReport, Explanation, Fact, KeyActivity
from pipelines.inspect.what_if import one_in
from pipelines.show.actions.decisions import words
from pipelines.show.style import (
    BLOCKS,
    SEVERITY_STYLES,
    add_columns,
    axis_width,
    block_chart,
    count,
    date_time,
    number,
    short,
    table,
)

_WIDE = 136  # columns that two parts side by side need
_DISTINCT = "different "
_USUAL = 0.5  # probability from which a result is nothing unusual
_CHART_ROWS = 5


def show(explanation: Explanation, console: Console | None = None) -> None:
    """Print an explanation."""
    console = console or Console()
    wide = console.width >= _WIDE
    half = (console.width - 3) // 2 if wide else console.width
    console.print(_verdict(explanation))
    console.print(_gauge(explanation, console.width))
    reports = sorted(explanation.detectors, key=lambda report: report.probability)
    unusual = [report for report in reports if report.severity or report.probability < _USUAL]
    _side_by_side(console, [_detector(report) for report in unusual], wide)
    console.print(Rule("activity", align="left", style="dim"))
    activity = explanation.activity
    _side_by_side(console, [_chart(activity, half), _facts(activity.facts)], wide)
    if explanation.alerts:
        console.print(Rule("alerts", align="left", style="dim"))
        console.print(_alerts(explanation))
    console.print(_footnote(explanation))


def _side_by_side(console: Console, parts: list[RenderableType], wide: bool) -> None:
    step = 2 if wide else 1
    for i in range(0, len(parts), step):
        grid = Table.grid(expand=True, padding=(0, 3 if wide else 0, 0, 0))
        for _ in range(step):
            grid.add_column(ratio=1)
        grid.add_row(*parts[i : i + step])
        console.print(grid)
        console.print()


# The verdict


def _verdict(explanation: Explanation) -> Text:
    activity = explanation.activity
    text = Text(explanation.key, "bold").append("\n").append_text(_finding(explanation))
    text.append("\nDecision: ", "not bold").append(explanation.decision, "bold")
    text.append(f"{_decision_details(explanation)}.\n", "not bold")
    for each in explanation.campaigns:
        text.append(
            f"Member of a {each.severity} campaign of {count(each.members, 'key')} since "
            f"{date_time(each.since)} UTC: `xm campaigns show {each.campaign}`\n",
            "not bold",
        )
    return text.append(
        f"{count(activity.requests, 'request')} and {count(activity.tokens, 'token')} from "
        f"{date_time(activity.first_seen)} to {date_time(activity.last_seen)} UTC.\n",
        "not bold",
    )


def _finding(explanation: Explanation) -> Text:
    """The most severe open alert, or else the least probable result, in a sentence."""
    worst = min(
        explanation.detectors,
        key=lambda report: (-_rank(report), report.probability),
    )
    chance = one_in(worst.probability)
    if worst.severity and _found(worst.probability, explanation):
        words = f"{worst.severity.capitalize()}: {worst.summary} ({worst.kind}, {chance})."
    elif worst.severity:
        words = (
            f"{worst.severity.capitalize()} since {date_time(worst.opened)} UTC ({worst.kind}). "
            f"Now {chance}: the alert resolves unless there is new evidence."
        )
    elif worst.probability < _USUAL:
        words = f"No open alert. Least usual: {worst.summary} ({worst.kind}, {chance})."
    else:
        words = "Nothing unusual."
    return Text(words, SEVERITY_STYLES.get(worst.severity or "", "") or "not bold")


def _rank(report: DetectorReport) -> int:
    return SEVERITIES.index(report.severity) if report.severity else -1


def _decision_details(explanation: Explanation) -> str:
    if explanation.until is None:
        return " (gateways let its requests pass)"
    until = f" until {date_time(explanation.until)} UTC"
    if explanation.steps:
        then = ", ".join(action for action, _ in explanation.steps)
        until += f", then {then} until {date_time(explanation.steps[-1][1])} UTC"
    if explanation.replay:
        return f"{until}, in this replay"
    applies = words(explanation.why, explanation.applies, explanation.decision)
    unknown = (
        ": no worker reports its setting, or they differ" if explanation.why == "unknown" else ""
    )
    return f"{until}, {applies}{unknown}"


def _found(p: float, explanation: Explanation) -> str:
    met = [severity for severity in SEVERITIES if p <= explanation.thresholds[severity]]
    return met[-1] if met else ""


def _gauge(explanation: Explanation, width: int) -> Text:
    """A bar per detector on a logarithmic scale, with a mark at each threshold."""
    names = max(len(report.kind) for report in explanation.detectors) + 2
    length = min(width, 110) - names - 22
    decades = 1.0 - math.log10(min(explanation.thresholds.values()))

    def place(p: float) -> int:
        return min(int(-math.log10(max(p, 1e-300)) / decades * length), length)

    marks = {place(p): severity for severity, p in explanation.thresholds.items()}
    heading, text = " " * names, Text()
    for at, severity in marks.items():
        heading += " " * (names + at - len(heading)) + severity + " "
    text.append(heading.rstrip() + "\n", "dim")
    for report in explanation.detectors:
        found = _found(report.probability, explanation)
        style = SEVERITY_STYLES.get(found, "dim")
        end = place(report.probability)
        text.append(f"{report.kind:{names}}")
        for i in range(length + 1):
            filled, empty = "┿┊" if i in marks else "━ "
            text.append(filled if i < end else empty, style if i < end else "dim")
        usual = report.probability >= _USUAL
        text.append(f" {'usual' if usual else one_in(report.probability)}", style if found else "")
        text.append("\n")
    return text


# Evidence


def _detector(report: DetectorReport) -> RenderableType:
    title = Text(report.kind, "bold")
    if report.severity:
        title.append(f"  {report.severity}", f"not bold {SEVERITY_STYLES[report.severity]}")
        title.append(f" since {date_time(report.opened)}", "not bold")
        title.append(f", last seen {date_time(report.upheld)}", "not bold")
    text = Text(f"{report.summary[:1].upper()}{report.summary[1:]}.\n")
    text.append(f"At {date_time(report.at)}: ")
    text.append(f"{one_in(report.probability)} ordinary keys reaches this in a day.")
    for sentence in report.counterfactuals:
        text.append(f"\n{sentence}", "italic")
    return Group(
        Rule(title, align="left", style="dim"), Padding(text, (0, 1, 1, 1)), _facts(report.facts)
    )


def _facts(facts: list[Fact]) -> Table:
    """Values beside quantiles of ordinary keys. Quantiles that no value has are left out."""
    facts = [fact for fact in facts if fact.shown]
    shown = [i for i in range(len(QUANTILES)) if any(f.ordinary[i] is not None for f in facts)]
    rows = Table(box=None, padding=(0, 1), header_style="dim")
    add_columns(rows, "")
    add_columns(rows, "this key", numbers=True)
    add_columns(rows, "")
    for i in shown:
        share = f"{100 * QUANTILES[i]:g}%"
        heading = f"ordinary {share}" if i == shown[0] else share
        rows.add_column(heading, justify="right", style="dim", no_wrap=True)
    group = ""
    for fact in facts:
        name = fact.label
        if name.startswith(_DISTINCT):
            if group != _DISTINCT:
                rows.add_row(_DISTINCT)
            group, name = _DISTINCT, f"  {name.removeprefix(_DISTINCT)}"
        value = _value(fact.unit, fact.value)
        if fact.error:
            value += f" ± {_value(fact.unit, fact.error)}"
        mark, style = _unusual(fact)
        found = (fact.ordinary[i] for i in shown)
        ordinary = ("" if each is None else _value(fact.unit, each) for each in found)
        rows.add_row(name, Text(value, style), Text(mark, style), *ordinary)
    return rows


def _unusual(fact: Fact) -> tuple[str, str]:
    """A mark beyond the quantiles of ordinary keys, visible without colour, and its colour."""
    low, _, high, highest = fact.ordinary
    if highest is not None and fact.value > highest:
        return "▲▲", "red"
    if high is not None and fact.value > high and _differ(fact, high):
        return "▲", "yellow"
    if low is not None and fact.value < low and _differ(fact, low):
        return "▼", "yellow"
    return "", ""


def _differ(fact: Fact, ordinary: float) -> bool:
    return _value(fact.unit, fact.value) != _value(fact.unit, ordinary)


def _value(unit: Unit, value: float) -> str:
    if unit == "share":
        return f"{value:.0%}"
    if value >= 10_000 or unit == "count":
        return short(value)
    return number(value) if abs(value) >= 5e-4 else "0"


# Activity


def _chart(activity: KeyActivity, width: int) -> RenderableType:
    """Requests by hour of the last day, and by hour of the day over all days."""
    most = max(*activity.by_hour, 1)
    axis = axis_width(most)
    bar = max(min((width - axis - 1) // len(activity.by_hour), 4), 1)
    text = Text(f" requests per hour, last 24 hours, at most {most:,}\n", "dim")
    text.append(block_chart(activity.by_hour, _CHART_ROWS, highest=most, bar=bar))
    last = int(activity.last_seen // HOUR)
    hours = [(last - 23 + i) % 24 for i in range(24)]
    labels = "".join(f"{hour:02}".ljust(3 * bar) for hour in hours[::3])
    text.append(f"{'':{axis}}{labels.rstrip()} UTC\n\n", "dim")
    busiest = max(*activity.rhythm, 1)
    twice = 1 + (width >= 72)
    rhythm = "".join(BLOCKS[math.ceil(each / busiest * 8)] * twice for each in activity.rhythm)
    text.append(" hours of the day  00 ", "dim").append(rhythm, "blue").append(" 23\n", "dim")
    models = ", ".join(f"{share:.0%} #{name}" for name, share in activity.models.items())
    text.append(" models, by hash   ", "dim").append(f"{models or 'not named'}")
    return text


def _alerts(explanation: Explanation) -> Table:
    rows = table()
    add_columns(rows, "time", "alert", "decision")
    rows.add_column("summary")
    for alert in explanation.alerts:
        summary = alert.summary.removeprefix(f"{explanation.key}: ")
        style = "dim" if alert.state == "resolved" else SEVERITY_STYLES[alert.severity]
        state = Text(f"{alert.severity} {alert.state}", style)
        rows.add_row(date_time(alert.detected_at), state, alert.decision, Text(summary))
    return rows


def _footnote(explanation: Explanation) -> Text:
    return Text(
        "Percentages are quantiles of ordinary keys. For requests, tokens and nats of a request "
        f"for reasoning or grades: peaks of a day, from {explanation.key_days:,.0f} key-days of "
        f"the baseline of {explanation.baseline}. For the rest: {explanation.others:,} other keys "
        "as they are now. ▲ above 95% of them, ▲▲ above 99.9%, ▼ below 5%. ± is one standard "
        "error. Similarity to data sets, few follow-ups and regularity are in nats, too: 7 nats of "
        "evidence are odds of 1,000 to 1.",
        "dim",
    )
