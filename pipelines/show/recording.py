"""Show a first look at a log."""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from pipelines.inspect.recording import Inspection
from pipelines.show.style import count, date_time, default_console, table


def show(seen: Inspection, console: Console | None = None) -> None:
    """Print an inspection: what is read, what is missing, and what to write."""
    console = console or default_console()

    def line(text: str, indent: int = 0) -> None:
        console.print(Padding(Text(text), (0, 0, 0, indent), expand=False))

    line(f"{seen.file}: {seen.format}")
    line(f"The first {count(seen.elements, 'element')} hold {count(seen.requests, 'request')}.")
    for each in seen.rejected:
        line(each, 2)
    for reason, number in seen.ignored.items():
        line(f"{number:,} records are no requests ({reason})", 2)
    if seen.times is not None:
        first, last = map(date_time, seen.times)
        line(f"Times: {first} to {last} UTC; {seen.order}.")
    if seen.keys is not None:
        line(f"Keys: {seen.keys.different:,} different, {seen.keys.form}. {seen.keys.lookup}")
    for note in seen.notes:
        line(note)
    _show_examples(seen, console)
    _show_gaps(seen, console)
    console.print()
    if not seen.requests:
        line("No format reads this file. Write a [mapping] table: deploy/docs/configuration.md")
        return
    preset = seen.mapping.get("preset")
    if list(seen.mapping) == ["preset"]:
        line(f"Set XM_MAPPING={preset}, or write into extraction-monitor.toml:")
    else:
        line("Write into extraction-monitor.toml:")
    console.print()
    console.print(seen.toml, markup=False, highlight=False, soft_wrap=True)
    if seen.others:
        console.print()
        line(f"Presets that read it less well: {', '.join(seen.others)}.")


def _show_examples(seen: Inspection, console: Console) -> None:
    for number, example in enumerate(seen.examples, 1):
        console.print()
        rows = table(f"Request {number}")
        rows.show_header = False
        rows.add_column(no_wrap=True, style="dim")
        rows.add_column(overflow="fold")
        for field, value in example.fields.items():
            rows.add_row(field, f"{date_time(value)} ({value})" if field == "ts" else str(value))
        rows.add_row("prompt", example.text)
        if example.prompt is not None:
            rows.add_row("", Text(example.prompt))
        console.print(rows)


def _show_gaps(seen: Inspection, console: Console) -> None:
    if seen.unreadable:
        console.print()
        fields = ", ".join(f"{name} ({share:.0%})" for name, share in seen.unreadable.items())
        console.print(Text(f"Left out, because unreadable: {fields}."))
    if seen.missing:
        console.print()
        rows = table("Missing, and what it costs")
        rows.show_header = False
        rows.add_column(no_wrap=True)
        rows.add_column(no_wrap=True, justify="right")
        rows.add_column()
        for each in seen.missing:
            rows.add_row(each.field, f"{each.share:.0%}", each.cost)
        console.print(rows)
