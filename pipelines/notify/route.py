"""Routes: which alerts a receiver gets, by severity, kind and hours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from monitor.alerting.alerts import SEVERITIES, Alert, Severity
from monitor.errors import ConfigError
from pipelines.notify.incidents.notice import Receiver

UTC = ZoneInfo("UTC")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = "|".join(_DAYS)
_SPAN = re.compile(
    rf"(?P<days>(?:{_DAY})(?:-(?:{_DAY}))?(?:,(?:{_DAY})(?:-(?:{_DAY}))?)*)?\s*"
    r"(?:(?P<begin>\d\d:\d\d)-(?P<end>\d\d:\d\d))?"
)


class Span(NamedTuple):
    """A part of the week. One that ends before it begins ends on the next day.

    Attributes:
        days: on which it begins, Monday is 0.
        begin, end: minutes since midnight.
    """

    days: frozenset[int]
    begin: int
    end: int

    def holds(self, day: int, minute: int) -> bool:
        """Whether a minute of a day of the week is within."""
        if self.begin < self.end:
            return day in self.days and self.begin <= minute < self.end
        yesterday = (day - 1) % 7
        return (day in self.days and minute >= self.begin) or (
            yesterday in self.days and minute < self.end
        )


@dataclass(frozen=True, slots=True)
class Route:
    """A receiver, and the conditions of its alerts.

    Attributes:
        kinds: kinds of alerts; empty: all.
        hours: parts of the week in `zone`; empty: always.
        wait_seconds: for which an alert on a key, account or end user is held back from a receiver
            that people read, so that a campaign that is found meanwhile stands for it.
    """

    receiver: Receiver
    least_severity: Severity = "info"
    kinds: frozenset[str] = frozenset()
    hours: Sequence[Span] = ()
    zone: ZoneInfo = UTC
    wait_seconds: float = 0.0

    def wants(self, alert: Alert, now: float) -> bool:
        """Whether the receiver gets an alert that it does not know yet.

        Args:
            now: wall-clock time, epoch seconds.
        """
        severe = SEVERITIES.index(alert.severity) >= SEVERITIES.index(self.least_severity)
        return severe and (not self.kinds or alert.kind in self.kinds) and self._is_on(now)

    def _is_on(self, now: float) -> bool:
        if not self.hours:
            return True
        local = datetime.fromtimestamp(now, self.zone)
        minute = 60 * local.hour + local.minute
        return any(span.holds(local.weekday(), minute) for span in self.hours)


def parse_hours(text: str, name: str) -> tuple[Span, ...]:
    """Parts of the week: days, a time or both, several separated by semicolons.

    >>> parse_hours("22:00-06:00", "hours")[0][1:]
    (1320, 360)

    Args:
        name: of the setting, for errors.

    Raises:
        ConfigError: if it cannot be read.
    """
    return tuple(_span(part.strip().lower(), name) for part in text.split(";") if part.strip())


def _span(text: str, name: str) -> Span:
    found = _SPAN.fullmatch(text)
    begin, end = (_minute(found[which]) for which in ("begin", "end")) if found else (None, None)
    if found is None or begin == -1 or end == -1 or (begin is not None and begin == end):
        raise ConfigError(
            f"{name} has the part {text!r}, which is no time of the week: write it as "
            "Mon-Fri 08:00-18:00, 22:00-06:00 or Sat,Sun."
        )
    days = _days(found["days"]) if found["days"] else frozenset(range(7))
    return Span(days, 0, 1440) if begin is None or end is None else Span(days, begin, end)


def _minute(clock: str | None) -> int | None:
    """Minutes since midnight; -1 if there is no such time; 24:00 ends a day."""
    if clock is None:
        return None
    hour, minute = map(int, clock.split(":"))
    found = 60 * hour + minute
    return found if minute < 60 and found <= 1440 else -1


def _days(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin, end = _DAYS.index(first), _DAYS.index(last or first)
        found.update((begin + n) % 7 for n in range((end - begin) % 7 + 1))
    return frozenset(found)
