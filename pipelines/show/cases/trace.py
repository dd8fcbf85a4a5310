"""Show marks, and what was found of them in a suspect model."""

from __future__ import annotations

from textwrap import fill

from rich.console import Console
from rich.text import Text

from monitor.tracing.significance import LEAST
from monitor.tracing.traces import Test, Trace
from pipelines.cases.tracing.marks import IssuedMark
from pipelines.cases.tracing.trace import TraceReport
from pipelines.show.style import add_columns, count, date_time, default_console, table

_LISTED = 5  # traces that are not significant, with their strongest test only
_NAMES = {"fixed": "fixed list", "context": "by context", "responses": "responses"}


def show(report: TraceReport, console: Console | None = None) -> None:
    """Print the conclusion, and a table of the tests of each mark."""
    console = console or default_console()
    for line in (conclusion(report), _tested(report), _caution(report)):
        if line:
            console.print(Text(fill(line, console.width)))
    listed = report.traces[: report.claimed + _LISTED]
    found = table()
    add_columns(found, "mark", "test")
    add_columns(found, "agree", "of", "chance", "z", "p", numbers=True)
    for place, trace in enumerate(listed):
        tests = sorted(trace.tests, key=lambda each: each.p)
        for i, test in enumerate(tests if place < report.claimed else tests[:1]):
            style = "bold red" if test.corrected <= report.level else ""
            found.add_row(*_row(trace, test, first=i == 0), style=style)
    console.print(found)
    console.print(Text(_rest(report, len(listed)), "dim"))
    subjects = [f"{each.mark} was put on responses to {each.subject}." for each in _claimed(report)]
    for line in subjects:
        console.print(Text(line), soft_wrap=True)


def conclusion(report: TraceReport) -> str:
    """The result in one sentence."""
    if not report.claimed:
        return f"No mark was found in the outputs of {report.model}."
    first = report.traces[0]
    return (
        f"The outputs of {report.model} show the mark {first.mark}"
        + (f" and {count(report.claimed - 1, 'other')}" if report.claimed > 1 else "")
        + f": the probability of this by chance is at most {probability(first.corrected)}."
    )


def probability(p: float) -> str:
    """A probability in a few characters."""
    if p <= LEAST:
        return "<1e-300"
    return f"{p:.1g}" if p < 0.001 else f"{p:.3f}".rstrip("0").rstrip(".")


def show_marks(marks: list[IssuedMark], console: Console | None = None) -> None:
    """Print a table of marks."""
    console = console or default_console()
    found = table()
    add_columns(found, "mark", "responses to", "first", "last", "cases")
    for each in marks:
        found.add_row(
            each.mark, each.subject, date_time(each.since), date_time(each.until),
            " ".join(each.cases),
        )  # fmt: skip
    console.print(found)
    console.print(f"{count(len(marks), 'mark')}. Times in UTC.")


def _tested(report: TraceReport) -> str:
    tokens = "no tokenizer" if report.tokens is None else count(report.tokens, "token")
    return (
        f"{count(report.outputs, 'output')}, {tokens}; tested for "
        f"{count(len(report.traces), 'mark')}. Probabilities are corrected for all tests; a mark "
        f"counts as found at {report.level:g}."
    )


def _caution(report: TraceReport) -> str:
    if report.alone is None:
        return ""
    return (
        f"{count(report.alone, 'output')} of {report.outputs:,} show it on their own. A trained "
        "model shows it in the sum of many outputs; outputs that show it alone may quote marked "
        "responses."
    )


def _claimed(report: TraceReport) -> list[Trace]:
    return report.traces[: report.claimed]


def _row(trace: Trace, test: Test, *, first: bool) -> list[str]:
    return [
        trace.mark if first else "",
        _NAMES.get(test.kind, test.kind),
        f"{test.agree:,}",
        f"{test.trials:,}",
        f"{test.expected:,.0f}",
        f"{test.z:.1f}",
        probability(test.corrected),
    ]


def _rest(report: TraceReport, listed: int) -> str:
    rest = len(report.traces) - listed
    return f"{count(rest, 'other mark')} without significance." if rest else ""
