"""What people enter in the forms of the console."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from starlette.datastructures import FormData, QueryParams
from starlette.requests import Request

from monitor.errors import InputError

UNITS = {"minutes": 60.0, "hours": 3600.0, "days": 86_400.0}
_LONGEST = 20_000  # characters of a field


class Fields:
    """The fields of a form.

    Args:
        form: as it was sent.
    """

    def __init__(self, form: FormData) -> None:
        self._form = form

    def text(self, name: str) -> str:
        """The text of a field; empty if it is missing.

        Raises:
            InputError: if it is too long, or a file.
        """
        found = self._form.get(name, "")
        if not isinstance(found, str) or len(found) > _LONGEST:
            raise InputError(f"The field {name} has no text of at most {_LONGEST:,} characters.")
        return found.strip()

    def is_set(self, name: str) -> bool:
        """Whether a box is ticked."""
        return bool(self.text(name))

    def choice(self, name: str, among: Sequence[str]) -> str:
        """What was chosen from a list.

        Raises:
            InputError: if it is not in the list.
        """
        found = self.text(name)
        if found not in among:
            raise InputError(f"The field {name} is not one of {', '.join(among)}: choose again.")
        return found

    def number(self, name: str) -> float | None:
        """The number in a field; `None` if it is empty.

        Raises:
            InputError: if it is no number.
        """
        text = self.text(name)
        if not text:
            return None
        try:
            found = float(text)
        except ValueError:
            found = math.nan
        if not math.isfinite(found):
            raise InputError(f"The field {name} is not a number: write digits.")
        return found

    def seconds(self, name: str = "for") -> float:
        """A duration, from a number and the field with its unit.

        Raises:
            InputError: if either is missing.
        """
        number = self.number(name)
        if number is None:
            raise InputError("The duration is missing: write for how long it holds.")
        return number * UNITS[self.choice(f"{name}_unit", list(UNITS))]

    def day(self, name: str) -> float | None:
        """The beginning of a day in UTC, epoch seconds; `None` if the field is empty."""
        return day(self.text(name))


def page_number(query: QueryParams, name: str = "page", least: int = 1) -> int:
    """The page of a list that a query asks for; the first without one."""
    text = query.get(name, "")
    return max(int(text), least) if text.isdecimal() and len(text) < 7 else least


async def fields(request: Request) -> Fields:
    """The form that a request sent."""
    return Fields(await request.form())


def day(text: str) -> float | None:
    """The beginning of a day in UTC, epoch seconds; `None` without one.

    Raises:
        InputError: if it is no day.
    """
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise InputError("This is not a day: write it as 2026-11-28.") from None
