"""Show what was erased, and what stays."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from pipelines.health.erasure import Erased
from pipelines.show.style import count, default_console


def show(found: Erased, console: Console | None = None) -> None:
    """Print what was erased, what waits, and what stays."""
    console = console or default_console()
    text = Text(f"{found.subject} is erased" if not found.waiting else "")
    if found.waiting:
        text.append(f"{found.subject} is erased in part", "yellow")
    text.append(f" (audit entry {found.audit}).\n")
    parts = [f"{number:,} {kind}" for kind, number in found.erased.items()]
    text.append(f"  Redis: {', '.join(parts) or 'nothing was stored'}\n")
    text.append(f"  Workers: {count(len(found.forgotten), 'partition')} forgot it\n")
    if found.waiting:
        text.append(
            f"  No worker has answered for {', '.join(found.waiting)}: it is forgotten there when "
            "one starts, within 7 days.\n",
            "yellow",
        )
    text.append("What stays:")
    for each in found.stays:
        text.append(f"\n  - {each}")
    console.print(text)
