"""Show the public keys that verify cases."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console

from monitor.evidence.ring import KeySet, PublicKey
from pipelines.show.style import add_columns, default_console, table


def show(keys: KeySet, console: Console | None = None) -> None:
    """Print public keys, the oldest first."""
    console = console or default_console()
    if not keys.keys:
        console.print("There is no key. Make one with `xm case key new`.", markup=False)
        return
    found = table()
    add_columns(found, "key", "from", "retired")
    for key in sorted(keys.keys, key=lambda key: key.begin):
        began = _day(key.begin) if key.begin else ""
        found.add_row(key.kid, began, "" if key.retired is None else _day(key.retired))
    console.print(found)


def show_new(key: PublicKey, console: Console | None = None) -> None:
    """Print the key that signs from now on."""
    text = f"The key {key.kid} signs from now on."
    (console or default_console()).print(text, markup=False, highlight=False, soft_wrap=True)


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
