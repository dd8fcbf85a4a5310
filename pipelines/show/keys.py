"""Show the list of keys."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from monitor.alerting.alerts import SEVERITIES
from pipelines.inspect.keys import REMARKABLE, KeyList, KeyRow, MemoryUse
from pipelines.inspect.what_if import one_in
from pipelines.show.style import add_columns, count, date_time, default_console, short, table

_WIDEST = 1_000  # columns, for a measurement
_NOTES = {
    "(": "(decision): recorded and not enforced. `xm decisions` says why.",
    "?": "decision?: unknown whether enforced: no worker reports its setting, or they differ.",
}
_LINE = "{:26} {:>8} {:>6} {:>6}  {:12}  {}"


def show(listed: KeyList, by: str, console: Console | None = None) -> None:
    """Print a list of keys that is sorted by `by`."""
    console = console or default_console()
    if listed.top:
        rows = _table(listed, by)
        unbounded = console.options.update_width(_WIDEST)
        wide = console.measure(rows, options=unbounded).maximum <= console.width
        console.print(rows if wide else _lines(listed, by))
        if wide:
            console.print()
    notes = sorted({_NOTES[mark] for key in listed.top for mark in "(?" if mark in _decision(key)})
    for note in notes:
        console.print(note)
    alerted = ", ".join(f"{number:,} {name}" for name, number in listed.alerted.items())
    console.print(
        f"{count(listed.keys, 'key')}, {count(listed.requests, 'request')}, "
        f"{count(listed.tokens, 'token')}. Keys with open alerts: {alerted or 'none'}."
    )
    if listed.memory is not None:
        console.print(_memory(listed.memory))


def _table(listed: KeyList, by: str) -> Table:
    """A line per key."""
    ranked = any(key.probability is not None for key in listed.top)
    rows = table(_title(by))
    add_columns(rows, "key")
    add_columns(rows, "requests", "tokens", "hour", numbers=True)
    add_columns(rows, "last seen", "decision", *([_column(by)] if ranked else []))
    rows.add_column("open alerts")
    for key in listed.top:
        rows.add_row(*_cells(key), *([_probability(key)] if ranked else []), _alerts(key))
    return rows


def _lines(listed: KeyList, by: str) -> Text:
    """Two lines per key: its numbers, and the probability and alerts."""
    text = Text(f"{_title(by)}\n", "bold")
    heading = _LINE.format("key", "requests", "tokens", "hour", "last seen", "decision")
    text.append(f"{heading}\n", "not bold dim")
    for key in listed.top:
        text.append(f"{_LINE.format(*_cells(key))}\n", "not bold")
        ranked = f"{_column(by)} {_probability(key)}" if key.probability is not None else ""
        details = "; ".join(part for part in (ranked, _alerts(key)) if part)
        if details:
            text.append(f"  {details}\n", "not bold dim")
    return text


def _title(by: str) -> str:
    if by == REMARKABLE:
        return "The most remarkable keys, times in UTC"
    return f"Keys by {by}, times in UTC"


def _column(by: str) -> str:
    """The name of the probability: of a detector, or of the most surprising one."""
    return "ordinary" if by == REMARKABLE else by


def _cells(key: KeyRow) -> tuple[str, ...]:
    numbers = (short(number) for number in (key.requests, key.tokens, key.hour))
    return key.key, *numbers, date_time(key.last_seen), _decision(key)


def _decision(key: KeyRow) -> str:
    """The decision; in parentheses if it is not enforced."""
    if key.why == "unknown":
        return f"{key.decision}?"
    return f"({key.decision})" if key.applies == "observe" != key.decision else key.applies


def _probability(key: KeyRow) -> str:
    return "" if key.probability is None else one_in(key.probability)


def _alerts(key: KeyRow) -> str:
    """Open alerts by severity, the highest first."""
    kinds = {
        severity: ", ".join(kind for kind, found in key.alerts.items() if found == severity)
        for severity in reversed(SEVERITIES)
    }
    return "; ".join(f"{severity}: {names}" for severity, names in kinds.items() if names)


def _memory(memory: MemoryUse) -> str:
    return (
        f"Memory per key: {memory.record:,} bytes for the record, {memory.record_in_redis:,} with "
        f"its name and expiry in Redis. Redis uses {memory.used:,} bytes, {memory.used_per_key:,} "
        f"per key. A million keys would take {memory.million_keys / 1e9:.2f} GB."
    )
