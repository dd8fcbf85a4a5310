"""Show what was checked, and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from textwrap import fill

from rich.console import Console
from rich.text import Text

from pipelines.health.checks import Check, State
from pipelines.show.style import default_console

_MARKS: dict[State, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "skipped": ("-", "dim"),
    "warning": ("warning", "yellow"),
    "failed": ("FAILED", "red"),
}
_INDENT = 9 + 12 + 18  # columns before the finding


def show(checks: Sequence[Check], console: Console | None = None) -> None:
    """Print a line per check, with the remedy below where something is wrong."""
    console = console or default_console()
    for each in checks:
        console.print(_lines(each, console.width), soft_wrap=True)
    console.print(sentence(checks))


def sentence(checks: Sequence[Check]) -> str:
    """All checks in one sentence."""
    count = Counter(each.state for each in checks)
    return (
        f"{len(checks)} checks: {count['failed']} failed, {count['warning']} with a warning, "
        f"{count['ok']} ok."
    )


def _lines(check: Check, width: int) -> Text:
    mark, style = _MARKS[check.state]
    text = Text(f"{mark:9}", style)
    name = check.name if len(check.name) < 18 else f"{check.name}\n{' ' * (_INDENT - 1)}"
    text.append(f"{check.area:12}{name:18}", "not bold default")
    text.append(_wrapped(check.found, width).lstrip(), "not bold default")
    if check.remedy and check.state in ("warning", "failed"):
        text.append(f"\n{_wrapped('→ ' + check.remedy, width)}", "not bold default")
    return text


def _wrapped(text: str, width: int) -> str:
    indent = _INDENT * " "
    return fill(
        text,
        max(width, _INDENT + 30),
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,  # what can be copied stays in one piece
    )
