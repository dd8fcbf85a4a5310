"""Fields: how each field of a request event is read from a value of any type.

A value that says nothing (null, an empty string, `-`, "null", a redaction mark) counts as absent.
A value that cannot be read is an error of its field alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import tzinfo
from math import isfinite
from typing import Annotated, Any, NamedTuple, NoReturn

import msgspec

from monitor.requests.parsing.times import EARLIEST, LATEST, MAX_AHEAD, TimeError, read_time
from monitor.requests.turns import text_of

MAX_COUNT = 2**32 - 1

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]

# What logs write where there is no value, or in place of a value that they withhold.
_NO_VALUE = (
    *("", " ", "-", "--", "null", "none", "nil", "undefined", "nan", "n/a", "(null)", "<null>"),
    *("redacted", "[redacted]", "<redacted>", "(redacted)", "***redacted***", "__redacted__"),
    *("redacted-by-litellm", "redacted by litellm", "default-message-value", "[filtered]"),
    *("[removed]", "<removed>", "[masked]", "<masked>", "***", "****", "*****", "********"),
)
NO_VALUE = frozenset(
    form for text in _NO_VALUE for form in (text, text.upper(), text.title(), text.capitalize())
)

# Words for the outcome of a request, and the HTTP status code that each one means.
STATUS_WORDS = {
    **dict.fromkeys(("success", "succeeded", "successful", "ok", "complete", "completed"), 200),
    **dict.fromkeys(("incomplete", "in_progress", "finished", "done", "stop", "unset"), 200),
    **dict.fromkeys(("status_code_ok", "status_code_unset", "default"), 200),
    **dict.fromkeys(("failure", "failed", "fail", "error", "errored", "status_code_error"), 500),
    **dict.fromkeys(("internal", "unknown", "exception", "internal_server_error"), 500),
    **dict.fromkeys(("cancelled", "canceled", "aborted"), 499),
    **dict.fromkeys(("timeout", "deadline_exceeded", "expired"), 504),
    **dict.fromkeys(("unavailable", "overloaded", "overloaded_error"), 503),
    **dict.fromkeys(("rate_limited", "rate_limit_error", "resource_exhausted", "throttled"), 429),
    **dict.fromkeys(("unauthenticated", "unauthorized", "authentication_error"), 401),
    **dict.fromkeys(("permission_denied", "forbidden", "blocked", "denied"), 403),
    **dict.fromkeys(("invalid_argument", "bad_request", "invalid_request_error"), 400),
    **dict.fromkeys(("not_found", "not_found_error"), 404),
}
_WITH_PORT = re.compile(r"(\d{1,3}(?:\.\d{1,3}){3}):\d+|\[([\da-fA-F:.]+)\](?::\d+)?")


class Place(NamedTuple):
    """One place where a field may stand.

    Attributes:
        steps: names that lead to the object or array that holds the field.
        name: name or index of the field in it.
        headers: whether that object or array is a set of HTTP headers.
        per_second: units of time per second, if the place gives a unit.
        values: meaning of words, if the place gives them.
        add: where a duration stands that is added to a time.
    """

    steps: tuple[str, ...]
    name: str
    headers: bool = False
    per_second: float | None = None
    values: Mapping[str, Any] | None = None
    add: Place | None = None


def of_first_element(
    places: dict[str, list[Place]],
) -> tuple[list[tuple[str, ...]], dict[str, list[Place]]]:
    """The array whose first element holds all places, and the places in an element of it.

    A mapping that names only the first of several records, as `/records/0/time`, means each.
    """
    first = places["ts"][0].steps
    if "0" not in first:
        return [], places
    end = first.index("0") + 1
    if any(place.steps[:end] != first[:end] for found in places.values() for place in found):
        return [], places
    inner = {field: [_inside(place, end) for place in found] for field, found in places.items()}
    return [first[: end - 1]], inner


def _inside(place: Place, end: int) -> Place:
    add = None if place.add is None else _inside(place.add, end)
    return place._replace(steps=place.steps[end:], add=add)


class Reading(NamedTuple):
    """What the parsers need to know besides the value.

    Attributes:
        zone: zone of times that have no offset, or `None`.
        strip: prefixes, in lower case, that do not belong to an API key.
        latest: the latest possible time, epoch seconds.
    """

    zone: tzinfo | None
    strip: tuple[str, ...]
    latest: float = LATEST


def clean_key(text: str, strip: tuple[str, ...]) -> str | None:
    """An API key without the blanks and prefixes around it; `None` if nothing is left."""
    text = text.lstrip(" \t")
    for prefix in strip:
        if text[: len(prefix)].lower() == prefix:
            text = text[len(prefix) :]
            break
    text = text.strip(" \t")
    return None if text in NO_VALUE else text


# Parsers: (value, place, reading) to the value in the field's own type. None means absent; an error
# means that the value cannot be read.


def _key(value: Any, _: Place, reading: Reading) -> str | None:
    if type(value) is list and len(value) == 1:
        value = value[0]
    if type(value) is int:
        return str(value)
    return clean_key(value, reading.strip) if type(value) is str else _wrong_type(value)


def _name(value: Any, place: Place, reading: Reading) -> str | None:
    if type(value) is str:
        return None if value in NO_VALUE else value
    if type(value) is int:
        return str(value)
    if type(value) is list and len(value) == 1:
        return _name(value[0], place, reading)
    return _wrong_type(value)


def _address(value: Any, place: Place, reading: Reading) -> str | None:
    name = _name(value, place, reading)
    with_port = None if name is None else _WITH_PORT.fullmatch(name)
    return name if with_port is None else with_port[1] or with_port[2]


def _passage(value: Any, *_: Any) -> str | None:
    if type(value) not in (str, list, dict):
        _wrong_type(value)
    text = text_of(value)
    return None if text in NO_VALUE else text


def _messages(value: Any, *_: Any) -> Any:
    return value if type(value) in (str, list, dict) else _wrong_type(value)


def _number(value: Any, *_: Any) -> float | None:
    if type(value) is str and value in NO_VALUE:
        return None
    if type(value) is bool:
        _wrong_type(value)
    number = value if type(value) is float else msgspec.convert(value, float, strict=False)
    return number if isfinite(number) else _wrong_type(value)


def _count(value: Any, *_: Any) -> int | None:
    if type(value) is int and 0 <= value <= MAX_COUNT:
        return value
    if type(value) is str and value in NO_VALUE:
        return None
    return msgspec.convert(value, Count, strict=False)


def _length_or_count(value: Any, *_: Any) -> int | None:
    return len(value) if type(value) in (list, dict) else _count(value)


def _status(value: Any, place: Place, _: Reading) -> int | None:
    if type(value) is str:
        word = value.strip()
        if word[:3].isdecimal() and not word[3:4].isdecimal() and "," not in word:
            return int(word[:3])  # "200 OK"
        meaning = STATUS_WORDS.get(word.lower().replace(" ", "_").replace("-", "_"))
        return _count(value) if meaning is None else meaning
    if type(value) is bool:
        return 200 if value else 500
    return _count(value)


def _flag(value: Any, *_: Any) -> bool | None:
    if type(value) is str and value in NO_VALUE:
        return None
    return value > 0 if type(value) is int else msgspec.convert(value, bool, strict=False)


def _milliseconds(value: Any, place: Place, _: Reading) -> int | None:
    number = _number(value)
    scale = 1.0 if place.per_second is None else 1e3 / place.per_second
    return None if number is None else _count(round(number * scale))


def _time(value: Any, place: Place, reading: Reading) -> float | None:
    if type(value) is str and value in NO_VALUE:
        return None
    moment = read_time(value, place.per_second, reading.zone)
    if moment > LATEST:
        raise TimeError("ts is not in seconds: map it with its unit (ms, us or ns)")
    if moment < EARLIEST:
        raise TimeError("ts is before the year 2000")
    if moment > reading.latest:
        ahead = moment - reading.latest + MAX_AHEAD
        raise TimeError(f"ts is {ahead:.0f} s ahead of the clock", future=True)
    return moment


def _wrong_type(value: Any) -> NoReturn:
    raise TypeError(type(value))


def _distinct(values: list[Any]) -> list[Any]:
    return [each for i, each in enumerate(values) if each not in values[:i]]


def _first_not_refused(statuses: list[int]) -> int:
    """Of differing statuses the first that is not a refusal: refused requests are not evaluated,
    and a client may have added a status to a body that was flattened into the record."""
    answered = (each for each in statuses if each < 500 and each not in (401, 403, 429))
    return next(answered, statuses[0])


class Parser(NamedTuple):
    """How a field is read, and what it should be.

    Attributes:
        parse: reads a value.
        expected: what the field should be, for messages.
        combine: makes one value of those of all places; `None`: the first usable place wins.
    """

    parse: Callable[[Any, Place, Reading], Any]
    expected: str
    combine: Callable[[list[Any]], Any] | None = None


_NAMES = Parser(_name, "a string")
_COUNTS = Parser(_count, f"a whole number from 0 to {MAX_COUNT}")
_PASSAGES = Parser(_passage, "a text", combine=_distinct)
PARSERS = {
    "ts": Parser(_time, "a time"),
    "api_key": Parser(_key, "a string"),
    "id": _NAMES,
    "account": _NAMES,
    "end_user": _NAMES,
    "payment": _NAMES,
    "ip": Parser(_address, "a string"),
    "tls_fingerprint": _NAMES,
    "user_agent": _NAMES,
    "country": _NAMES,
    "model": _NAMES,
    "asn": _COUNTS,
    "status": Parser(_status, "an HTTP status", combine=_first_not_refused),
    "latency_ms": Parser(_milliseconds, "a duration"),
    "max_tokens": _COUNTS,
    "input_tokens": _COUNTS,
    "output_tokens": _COUNTS,
    "cached_tokens": Parser(_count, _COUNTS.expected, combine=lambda x: min(sum(x), MAX_COUNT)),
    "prompt": _PASSAGES,
    "system": _PASSAGES,
    "documents": _PASSAGES,
    "messages": Parser(_messages, "a list of messages", combine=_distinct),
    "turns": _COUNTS,
    "temperature": Parser(_number, "a number"),
    "n": _COUNTS,
    "logprobs": Parser(_flag, "a boolean"),
    "tools": Parser(_length_or_count, "a number or a list of tools"),
}
KINDS = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    float: "a number out of its range",
    int: "a number out of its range",
}
