"""Times: the forms in which logs write a moment, read as epoch seconds.

Read are epoch numbers in seconds, milliseconds, microseconds or nanoseconds (the magnitude tells
which: the ranges for the years 2000 to 5138 do not overlap), ISO 8601 in all its dialects, times
with the name of the month (HTTP, Apache, ctime), and the objects of MongoDB and Protobuf. A time
without an offset is read only if the zone of its writer is known. Forms in which day and month
could be confused are not read.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from email.utils import parsedate_tz
from math import isfinite
from typing import Any

import msgspec

EARLIEST = 946_684_800.0  # 2000-01-01: an earlier time comes from a clock that was never set
LATEST = 1e11  # the year 5138
MAX_AHEAD = 60.0  # seconds that a time may lie ahead of the clock

PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}

_ISO = re.compile(
    r"(\d{4})[-/]?(\d\d)[-/]?(\d\d)(?:[T_ ]|, ?| @ )"
    r"(\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,12}))?)?"
    r" ?(Z|UTC|GMT|(?:UTC|GMT)?[+-]\d\d(?::?\d\d(?::?\d\d)?)?)?(?:\[[\w/+-]+\])?",
    re.IGNORECASE | re.ASCII,
)
_NAMED_MONTH = re.compile(
    r"\[?(?:[a-z]{3,9},? )?(?:\d\d?[ /-][a-z]{3,9}[ /-]\d{4}|[a-z]{3,9} +\d\d?,? \d{4})[ :]"
    r"\d\d?:\d\d(?::\d\d)?(?:[.,]\d+)?( (?:[+-]\d{4}|Z|UTC|GMT))?\]?",
    re.IGNORECASE | re.ASCII,
)
_CTIME = re.compile(
    r"[a-z]{3} [a-z]{3} {1,2}\d\d? \d\d:\d\d:\d\d( (?:[+-]\d{4}|Z|UTC|GMT))? \d{4}",
    re.IGNORECASE | re.ASCII,
)
_SECONDS = ("seconds", "_seconds", "epochSecond", "epoch_second", "sec")
_NANOS = ("nanos", "_nanoseconds", "nanoseconds", "nano", "nsec")
_WRAPPERS = ("$date", "$numberLong", "$numberDouble", "$numberInt")


class TimeError(ValueError):
    """Why a value is not a usable time; names no value.

    Attributes:
        future: whether it is a time, but one ahead of the clock.
    """

    def __init__(self, detail: str, future: bool = False) -> None:
        super().__init__(detail)
        self.future = future


def read_time(value: Any, per_second: float | None = None, zone: tzinfo | None = None) -> float:
    """The moment that a value names, in epoch seconds.

    Args:
        value: a number, a string or an object.
        per_second: units per second of a number; `None`: its magnitude tells.
        zone: zone of times that have no offset; `None`: such times are refused.

    Raises:
        TimeError: if the value is not a time.
    """
    if type(value) is str:
        value = value.strip()
        if (number := _number(value)) is None:
            return _read_text(value, zone)
        value = number
    if type(value) is dict:
        return _read_object(value, zone)
    if type(value) not in (int, float):
        raise TypeError(type(value))
    return _scaled(value, per_second)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _scaled(value: float, per_second: float | None) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if not isfinite(number):
        raise TimeError("ts is neither a finite number nor a time")
    if per_second is not None:
        return number / per_second
    for units in PER_SECOND.values():
        if EARLIEST <= number / units < LATEST:
            return number / units
    return number


def _read_text(text: str, zone: tzinfo | None) -> float:
    if len(text) > 64:
        raise TimeError("ts is a long text, not a time")
    moment: datetime | None
    try:
        moment = msgspec.convert(text, datetime)
    except ValueError:
        moment = _from_iso(text) or _from_named_month(text)
    if moment is None:
        raise TimeError("ts is neither a number of seconds nor a time such as RFC 3339")
    if moment.tzinfo is None:
        if zone is None:
            raise TimeError(
                'ts has no offset: add the zone of its writer to the mapping, as zone = "UTC"'
            )
        moment = moment.replace(tzinfo=zone)
    return moment.timestamp()


def _from_iso(text: str) -> datetime | None:
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute = (int(found[i]) for i in range(1, 6))
    second, fraction = int(found[6] or 0), float(f"0.{found[7] or 0}")
    if hour > 24 or minute > 59 or second > 60 or (hour == 24 and (minute or second)):
        return None
    try:
        date = datetime(year, month, day, tzinfo=_offset(found[8]))
        # 24:00 is the next midnight, and second 60, a leap second, the next minute.
        return date + timedelta(hours=hour, minutes=minute, seconds=second + fraction)
    except (ValueError, OverflowError):
        return None


def _offset(text: str | None) -> tzinfo | None:
    if text is None:
        return None
    digits = re.sub(r"[^\d+-]", "", text)
    if not digits:
        return UTC
    hours, minutes, seconds = (int(digits[i : i + 2] or 0) for i in (1, 3, 5))
    size = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return timezone(-size if digits[0] == "-" else size)


def _from_named_month(text: str) -> datetime | None:
    found = _NAMED_MONTH.fullmatch(text) or _CTIME.fullmatch(text)
    if found is None:
        return None
    plain = re.sub(r"(\d{4}):", r"\1 ", re.sub(r"[.,]\d+", "", text.strip("[]")).replace("/", " "))
    parts = parsedate_tz(plain)
    if parts is None:
        return None
    offset = None if found[1] is None else timezone(timedelta(seconds=parts[9] or 0))
    try:
        return datetime(*parts[:5], tzinfo=offset) + timedelta(seconds=parts[5])
    except (ValueError, OverflowError):
        return None


def _read_object(value: dict[str, Any], zone: tzinfo | None) -> float:
    """MongoDB's `{"$date": …}`, or seconds and nanoseconds as in Protobuf's Timestamp."""
    for name in _WRAPPERS:
        if name in value:
            per_second = 1e3 if type(value[name]) is int or name != "$date" else None
            return read_time(value[name], per_second, zone)
    whole = next((value[name] for name in _SECONDS if name in value), None)
    nanos = next((value[name] for name in _NANOS if name in value), 0)
    if type(whole) not in (int, float, str) or type(nanos) not in (int, float, str):
        raise TypeError(dict)
    return read_time(whole, 1.0) + read_time(nanos, 1e9)
