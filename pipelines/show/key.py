"""An explanation as a page: a gauge of all detectors, each one's numbers, and what the key does.

It fits 80 columns; on a wide terminal the parts stand side by side.
"""

from __future__ import annotations

import math

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from monitor.alerting.alerts import SEVERITIES
from pipelines.inspect.key import QUANTILES, DetectorReport, Explanation, Fact, KeyActivity
from pipelines.inspect.what_if import one_in
from pipelines.show.style import (
    BLOCKS,
    SEVERITY_STYLES,
    add_columns,
    axis_width,
    block_chart,
    date_time,
    number,
    short,
    table,
)

_WIDE = 136  # columns from which on there is room for two
_DIFFERENT = "different "
_USUAL = 0.5  # a probability from which on there is nothing to be said
_ROWS = 5  # of the chart
_ENFORCED = {
    False: ", enforced",
    True: ", not enforced: workers run in shadow mode (XM_DECISIONS__SHADOW)",
    None: ", unknown whether enforced: no running worker reports it, or they differ",
}


def show(explanation: Explanation, console: Console | None = None) -> None:
    """Print an explanation."""
    console = console or Console()
    wide = console.width >= _WIDE
    half = (console.width - 3) // 2 if wide else console.width
    console.print(_header(explanation))
    console.print(_gauge(explanation, console.width))
    words = sorted(explanation.detectors, key=lambda word: word.probability)
    _side_by_side(console, [_word(word) for word in words], wide)
    does = [_clock(explanation.activity, half), _facts(explanation.activity.facts)]
    console.print(Rule("what it does", align="left", style="dim"))
    _side_by_side(console, does, wide)
    if explanation.alerts:
        console.print(Rule("what was said of it", align="left", style="dim"))
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


def _header(explanation: Explanation) -> Text:
    activity = explanation.activity
    text = Text(explanation.key, "bold")
    text.append(
        f"\n{activity.requests:,} requests and {activity.tokens:,} tokens from "
        f"{date_time(activity.first_seen)} to {date_time(activity.last_seen)} UTC\n",
        "not bold",
    )
    if explanation.until is None:
        return text.append("Nothing is decided on it: gateways let it pass.\n", "not bold")
    text.append(explanation.decision, "bold")
    text.append(f" until {date_time(explanation.until)} UTC", "not bold")
    return text.append(f"{_ENFORCED[explanation.shadow]}\n", "not bold")


def _gauge(explanation: Explanation, width: int) -> Text:
    """A line a detector, on a scale of powers of ten, with a mark at each threshold."""
    names = max(len(word.kind) for word in explanation.detectors) + 2
    length = min(width, 110) - names - 22
    decades = 1.0 - math.log10(min(explanation.thresholds.values()))

    def place(p: float) -> int:
        return min(int(-math.log10(max(p, 1e-300)) / decades * length), length)

    marks = {place(p): severity for severity, p in explanation.thresholds.items()}
    heading, text = " " * names, Text()
    for at, severity in marks.items():
        heading += " " * (names + at - len(heading)) + severity + " "
    text.append(heading.rstrip() + "\n", "dim")
    for word in explanation.detectors:
        found = _found(word.probability, explanation)
        style = SEVERITY_STYLES.get(found, "dim")
        end = place(word.probability)
        text.append(f"{word.kind:{names}}")
        for i in range(length + 1):
            filled, empty = "┿┊" if i in marks else "━ "
            text.append(filled if i < end else empty, style if i < end else "dim")
        text.append(f" {one_in(word.probability)}", style if found else "")
        text.append("\n")
    return text


def _found(p: float, explanation: Explanation) -> str:
    met = [severity for severity in SEVERITIES if p <= explanation.thresholds[severity]]
    return met[-1] if met else ""


def _word(word: DetectorReport) -> RenderableType:
    title = Text(word.kind, "bold")
    if word.severity:
        title.append(f"  {word.severity}", f"not bold {SEVERITY_STYLES[word.severity]}")
        title.append(f" since {date_time(word.opened)}", "not bold")
        title.append(f", upheld {date_time(word.upheld)}", "not bold")
    text = Text(f"{word.summary[:1].upper()}{word.summary[1:]}.\n")
    said = one_in(word.probability) if word.probability < _USUAL else "nothing unusual"
    text.append(f"At {date_time(word.at)} that is {said} for an ordinary key.")
    for difference in word.differences:
        text.append(f"\n{difference}", "italic")
    return Group(
        Rule(title, align="left", style="dim"), Padding(text, (0, 1, 1, 1)), _facts(word.facts)
    )


def _facts(facts: list[Fact]) -> Table:
    """Numbers beside what is ordinary; quantiles that none of them has are left out."""
    shown = [i for i in range(len(QUANTILES)) if any(f.ordinary[i] is not None for f in facts)]
    rows = Table(box=None, padding=(0, 1), header_style="dim")
    rows.add_column("", no_wrap=True)
    rows.add_column("this key", justify="right", no_wrap=True)
    rows.add_column("", no_wrap=True)
    for i in shown:
        share = f"{100 * QUANTILES[i]:g}%"
        heading = f"ordinary {share}" if i == shown[0] else share
        rows.add_column(heading, justify="right", style="dim", no_wrap=True)
    group = ""
    for fact in facts:
        name = fact.name.replace("_", " ")
        if name.startswith(_DIFFERENT):
            if group != _DIFFERENT:
                rows.add_row(_DIFFERENT)
            group, name = _DIFFERENT, f"  {name.removeprefix(_DIFFERENT)}"
        value = _number(fact.name, fact.value)
        if fact.error:
            value += f" ± {_number(fact.name, fact.error)}"
        mark, style = _unusual(fact)
        found = (fact.ordinary[i] for i in shown)
        ordinary = (
            "" if each is None else _number(fact.name, each) if each < 10_000 else short(each)
            for each in found
        )
        rows.add_row(name, Text(value, style), Text(mark, style), *ordinary)
    return rows


def _unusual(fact: Fact) -> tuple[str, str]:
    """A mark where few ordinary keys get to: it must be seen in a pipe, too."""
    low, _, high, highest = fact.ordinary
    if highest is not None and fact.value > highest:
        return "▲▲", "red"
    if high is not None and fact.value > high and _differ(fact, high):
        return "▲", "yellow"
    if low is not None and fact.value < low and _differ(fact, low):
        return "▼", "yellow"
    return "", ""


def _differ(fact: Fact, ordinary: float) -> bool:
    return _number(fact.name, fact.value) != _number(fact.name, ordinary)


def _clock(activity: KeyActivity, width: int) -> RenderableType:
    """Requests by hour, of the last day and of all days."""
    most = max(*activity.by_hour, 1)
    axis = axis_width(most)
    bar = max(min((width - axis - 1) // len(activity.by_hour), 4), 1)
    text = Text(f" requests per hour, last 24 hours, at most {most:,}\n", "dim")
    text.append(block_chart(activity.by_hour, _ROWS, highest=most, bar=bar))
    last = int(activity.last_seen // 3600)
    hours = [(last - 23 + i) % 24 for i in range(24)]
    labels = "".join(f"{hour:02}".ljust(3 * bar) for hour in hours[::3])
    text.append(f"{'':{axis}}{labels.rstrip()} UTC\n\n", "dim")
    busiest = max(*activity.rhythm, 1)
    twice = 1 + (width >= 72)
    rhythm = "".join(BLOCKS[math.ceil(count / busiest * 8)] * twice for count in activity.rhythm)
    text.append(" hours of the day  00 ", "dim").append(rhythm, "blue").append(" 23\n", "dim")
    models = ", ".join(f"{share:.0%} #{name}" for name, share in activity.models.items())
    text.append(" models, by hash   ", "dim").append(f"{models or 'not named'}")
    return text


def _alerts(explanation: Explanation) -> Table:
    rows = table()
    add_columns(rows, "time", "alert", "decision")
    rows.add_column("what")
    for alert in explanation.alerts:
        what = alert.summary.removeprefix(f"{explanation.key}: ")
        style = "dim" if alert.state == "resolved" else SEVERITY_STYLES[alert.severity]
        rows.add_row(
            date_time(alert.detected_at),
            Text(f"{alert.severity} {alert.state}", style),
            alert.decision,
            Text(what),
        )
    return rows


def _footnote(explanation: Explanation) -> Text:
    return Text(
        "Percentages: so many ordinary keys stay below. Of requests, tokens and nats it is the "
        f"peak of a day, over {explanation.key_days:,.0f} days of a key known to "
        f"{explanation.baseline}; of all else {explanation.others:,} other keys as they are now. "
        "± is one standard error.",
        "dim",
    )


def _number(name: str, value: float) -> str:
    if name.endswith(("share", "follow-ups", "novelty")):
        return f"{value:.0%}"
    if name in ("self-similarity", "deviation"):
        return f"{value:.3f}"
    if name.startswith(("requests", "tokens", "different", "prompts")):
        return f"{value:,.0f}"
    return number(value)
