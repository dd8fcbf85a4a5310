"""Show letters, appeals and rulings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pipelines.cases.review.appeals import DAY, Waiting
from pipelines.cases.review.results import Recorded, Ruling, Written
from pipelines.show.style import count, date_time, default_console

_SHOWN = 5  # subjects that are listed


def show_letter(found: Written, out: Path | None, console: Console | None = None) -> None:
    """Print a letter, or where it is."""
    console = console or default_console()
    letter = found.letter
    state = "written" if found.is_new else "written before, without a ruling yet"
    if out is None:
        console.out(letter.text, highlight=False)
    where = "" if out is None else f" to {out}"
    line = f"Letter {letter.reference} on {letter.subject}: {state}{where}. Case {found.case}."
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def show_appeal(found: Recorded, console: Console | None = None) -> None:
    """Print that an appeal is recorded, and what to do next."""
    console = console or default_console()
    reference = found.appeal.reference
    late = "" if found.in_time else " It came late."
    lines = [
        f"Appeal {reference} is recorded in case {found.case}.{late}",
        f"Answer it until {date_time(found.due_at)} UTC:",
        f"  xm case uphold {reference} --why …",
        f"  xm case overturn {reference} --why …",
    ]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def show_waiting(found: Sequence[Waiting], now: float, console: Console | None = None) -> None:
    """Print two lines per appeal."""
    console = console or default_console()
    text = Text()
    for each in found:
        late = each.is_overdue(now)
        days = abs(each.due_at - now) / DAY
        due = f"overdue by {days:.1f} days" if late else f"due in {days:.1f} days"
        text.append(f"{each.reference}  {due}\n", "red" if late else "")
        received = date_time(each.received_at)
        text.append(f"  {each.case}  {each.subject}  received {received}\n", "dim")
    overdue = sum(each.is_overdue(now) for each in found)
    text.append(f"{count(len(found), 'appeal')} without a ruling, {overdue} overdue.", "not bold")
    console.print(text, soft_wrap=True)


def show_ruling(found: Ruling, console: Console | None = None) -> None:
    """Print what a ruling did."""
    console = console or default_console()
    lines = [f"The decision on {found.subject} is {found.result}. Case {found.case}."]
    if found.result == "overturned":
        lines.append(f"{count(len(found.alerts), 'alert')} withdrawn. Nothing of it is enforced.")
        if found.subject.startswith("c_"):
            lines.append("If partners got it, take that back: xm share revoke.")
        if found.lifted:
            lines.append(f"Decisions deleted on {_some(found.lifted)}.")
        if found.remaining:
            lines.append(f"Decisions for other reasons remain on {_some(found.remaining)}.")
    elif found.alerts:
        lines.append(f"{count(len(found.alerts), 'alert')} withdrawn earlier now count again.")
    if found.reference:
        lines.append(f"Tell the customer, and quote {found.reference}.")
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _some(subjects: Sequence[str]) -> str:
    more = len(subjects) - _SHOWN
    return ", ".join(subjects[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
