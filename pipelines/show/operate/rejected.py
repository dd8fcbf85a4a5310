"""Show rejected requests, and what was sent again."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from pipelines.health.rejected import RejectedGroup, Replay
from pipelines.show.style import count, date_time, default_console


def show(groups: Sequence[RejectedGroup], console: Console | None = None) -> None:
    """Print a block for each reason and detail."""
    console = console or default_console()
    for each in groups:
        text = Text(f"{each.count:,} {each.reason}", "bold")
        text.append(f"  {each.detail}", "not bold")
        times = f"{date_time(each.first)} to {date_time(each.last)} UTC"
        text.append(f"\n  {times}; the last at {each.source}", "not bold dim")
        console.print(text, soft_wrap=True)
        console.print(_sample(each.sample, console.width), markup=False, soft_wrap=True)
    total = sum(each.count for each in groups)
    console.print(f"{count(total, 'request')} rejected.")


def _sample(sample: Any, width: int) -> str:
    if sample is None:
        return "  Kafka does not have it any more, or it is no JSON."
    text = msgspec.json.encode(sample).decode().replace(",", ", ").replace(":", ": ")
    indent = "    "
    return fill(text, width, initial_indent="  " + indent[2:], subsequent_indent=indent)


def show_replay(done: Replay, console: Console | None = None) -> None:
    """Print what was sent."""
    console = console or default_console()
    sent = f"{count(done.sent, 'request')} sent again (audit entry {done.audit})."
    if not done.audit:
        sent = f"{count(done.sent, 'request')} can be read now; nothing was sent."
    console.print(sent, soft_wrap=True)
    for reason, number in done.still_rejected.items():
        console.print(f"  {number:,} would be rejected again as {reason}")
    if done.gone:
        console.print(f"  {done.gone:,} are no longer in Kafka")
    if done.before:
        console.print(f"  {done.before:,} were sent before (--again sends them once more)")
