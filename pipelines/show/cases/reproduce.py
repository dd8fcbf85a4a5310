"""Show what a replay of a case gave."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.text import Text

from pipelines.cases.reproduction.compare import Row
from pipelines.cases.reproduction.reproduce import Reproduction
from pipelines.show.style import add_columns, count, default_console, table

_LISTED = 20  # values that differ
_SHOWN = 60  # characters of one


def show(found: Reproduction, console: Console | None = None) -> None:
    """Print the values that a replay gave, by group, and those that differ."""
    console = console or default_console()
    rows, counts = found.comparison.rows, found.comparison.counts
    read = f"{count(found.messages, 'message')} read in {found.seconds:.1f} s"
    if counts["different"]:
        said = f"{counts['different']:,} of {count(len(rows), 'value')} of the case differ"
        console.print(Text(f"{said}; {read}.", "bold red"), soft_wrap=True)
    elif counts["unknown"]:
        said = f"{counts['same']:,} of {count(len(rows), 'value')} of the case are the same"
        text = f"{said}, the others cannot be compared; {read}."
        console.print(Text(text, "bold yellow"), soft_wrap=True)
    else:
        text = f"The replay gives the facts of the case: {count(len(rows), 'value')}; {read}."
        console.print(Text(text, "bold green"), soft_wrap=True)
    console.print(_groups(rows))
    for row in [each for each in rows if each.result != "same"][:_LISTED]:
        _difference(console, row)
    if (more := counts["different"] + counts["unknown"] - _LISTED) > 0:
        console.print(f"  … and {more:,} more: --json lists all.", soft_wrap=True)
    for note in found.comparison.notes:
        console.print(Text(note, "dim"), soft_wrap=True)


def _groups(rows: list[Row]) -> object:
    groups = dict.fromkeys(row.group for row in rows)
    counts = Counter((row.group, row.result) for row in rows)
    found = table()
    add_columns(found, "facts")
    add_columns(found, "same", "different", "not compared", numbers=True)
    for group in groups:
        numbers = [counts[group, result] for result in ("same", "different", "unknown")]
        found.add_row(group, *(f"{number:,}" if number else "" for number in numbers))
    return found


def _difference(console: Console, row: Row) -> None:
    line = Text("  ").append(f"{row.group}, {row.name}: ", "bold")
    line.append(f"{_cut(row.case)} in the case, {_cut(row.replay)} in the replay", "not bold")
    if row.why:
        line.append(f"; {row.why}", "dim")
    console.print(line, soft_wrap=True)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
