"""Mappings: where each field of a request event stands in another system's log record.

A mapping is a table from field to place. A place is a JSON Pointer (RFC 6901), a list of places of
which the first usable one wins, or a table that also gives the unit of a time or the meaning of
words:

    [mapping]
    preset = "litellm"                              # optional: start from a preset
    api_key = "/metadata/user_api_key_alias"
    end_user = ["/end_user", "/metadata/user_id"]
    ts = { path = "/startTimeMs", unit = "ms" }     # s, ms, us or ns
    status = { path = "/outcome", values = { ok = 200, failed = 500 } }
    system = []                                     # ignore this field

Numbers and times in strings are parsed, an array of tools is read as its length, and null and
empty strings count as absent. The presets are such tables (`monitor/requests/presets.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from math import isfinite
from typing import Annotated, Any, Literal, NamedTuple, NoReturn

import msgspec

from monitor.errors import ConfigError
from monitor.requests.presets import PRESETS, UNBUNDLE
from monitor.requests.turns import text_of

MAX_COUNT = 2**32 - 1

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
Reason = Literal[
    "empty",
    "not_json",
    "undecodable",
    "not_an_object",
    "missing_field",
    "wrong_type",
    "bad_time",
    "future",
    "too_large",
    "not_a_fingerprint",
]

_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_REQUIRED = ("ts", "api_key")
_ABSENT: tuple[Any, ...] = (None, "")
_KINDS = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}


class ElementError(Exception):
    """Why an element cannot become an event. The detail never quotes the element."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Place(NamedTuple):
    """One place where a field may stand.

    Attributes:
        steps: names that lead to the object or array that holds the field.
        name: name or index of the field in it.
        per_second: units of time per second, if the place gives a unit.
        values: meaning of words, if the place gives them.
    """

    steps: tuple[str, ...]
    name: str
    per_second: float | None
    values: Mapping[str, Any] | None


class FieldMapping:
    """A mapping, compiled for reading documents.

    Args:
        mapping: name of a preset, or a mapping table.

    Raises:
        ConfigError: if the mapping is invalid.
    """

    def __init__(self, mapping: str | Mapping[str, Any]) -> None:
        spec = {"preset": mapping} if isinstance(mapping, str) else dict(mapping)
        preset = spec.pop("preset", "")
        if preset not in ["", *_PRESETS]:
            raise ConfigError(
                f"Unknown mapping preset {preset!r}. Use {', '.join(_PRESETS)} "
                "or a table of fields."
            )
        self.native = preset == "native" and not spec
        self.unbundle = UNBUNDLE.get(preset)
        places = {
            field: [_place(field, each) for each in (found if isinstance(found, list) else [found])]
            for field, found in (_PRESETS.get(preset, {}) | spec).items()
        }
        for field in _REQUIRED:
            if not places.get(field):
                raise ConfigError(
                    f"The mapping has no place for the required field {field}. Add a line such as "
                    f'{field} = "/{field}".'
                )
        steps = [place.steps for found in places.values() for place in found]
        self._holders = list(dict.fromkeys(steps))  # each is looked up once per document
        self._plan = [
            (field, [(self._holders.index(place.steps), place) for place in places[field]], parser)
            for field, parser in _PARSERS.items()
            if field in places
        ]

    def names(self, document: dict[str, Any]) -> set[str]:
        """The fields that have a value in a document, usable or not."""
        holders = [_walk(document, steps) for steps in self._holders]
        return {
            field
            for field, places, _ in self._plan
            if any(_child(holders[index], place.name) not in _ABSENT for index, place in places)
        }

    def read(self, document: dict[str, Any]) -> dict[str, Any]:
        """The fields of a document, each in its own type.

        Raises:
            ElementError: if a required field is absent or a field cannot be used.
        """
        holders = [_walk(document, steps) for steps in self._holders]
        found = {}
        for field, places, parser in self._plan:
            error: tuple[Reason, str] | None = None
            for index, (_, name, per_second, values) in places:
                holder = holders[index]
                value = holder.get(name) if type(holder) is dict else _child(holder, name)
                if values is not None:
                    value = _translate(value, values)
                if value is None:
                    continue
                try:
                    value = parser.parse(value, per_second)
                except ElementError as failed:
                    error = error or (failed.reason, failed.detail)
                except (ValueError, TypeError, OverflowError):
                    kind = _KINDS.get(type(value), "a number out of its range")
                    error = error or ("wrong_type", f"{field} is {kind}, not {parser.expected}")
                else:
                    if value is not None:
                        found[field] = value
                        break
            else:
                if error is not None:
                    raise ElementError(*error)
                if field in _REQUIRED:
                    raise ElementError("missing_field", f"{field} is missing or empty")
        return found


def _walk(document: Any, steps: tuple[str, ...]) -> Any:
    for step in steps:
        document = _child(document, step)
    return document


def _child(holder: Any, name: str) -> Any:
    """The value under a name in an object or an index in an array, or `None`."""
    if type(holder) is dict:
        return holder.get(name)
    if type(holder) is list and name.isdecimal() and int(name) < len(holder):
        return holder[int(name)]
    return None


def _translate(word: Any, values: Mapping[str, Any]) -> Any:
    """The meaning of a word. An unlisted number means itself, any other unlisted word nothing."""
    if type(word) not in (str, int):
        return None
    return values.get(str(word), word if str(word).isdecimal() else None)


def _place(field: str, spec: Any) -> Place:
    if field not in _PARSERS:
        raise ConfigError(f"Unknown mapping field {field!r}. Use one of {', '.join(_PARSERS)}.")
    entry = {"path": spec} if isinstance(spec, str) else spec
    if not isinstance(entry, Mapping) or entry.keys() - {"path", "unit", "values"}:
        raise ConfigError(
            f"Mapping field {field} must be a JSON Pointer, a list of places, or a table of "
            "path and, where needed, unit or values."
        )
    path, unit, values = entry.get("path"), entry.get("unit", "s"), entry.get("values")
    if not isinstance(path, str) or not re.fullmatch(r"(/([^~/]|~[01])*)+", path):
        raise ConfigError(
            f"Mapping field {field}: {path!r} is not a JSON Pointer. Write it like /request/model, "
            "with ~1 for / and ~0 for ~ inside a name."
        )
    if "unit" in entry and (unit not in [*_PER_SECOND] or field not in ("ts", "latency_ms")):
        raise ConfigError(
            f"Mapping field {field} cannot have the unit {unit!r}. Only ts and latency_ms have a "
            f"unit, one of {', '.join(_PER_SECOND)}."
        )
    if values is not None and not isinstance(values, Mapping):
        raise ConfigError(
            f"Mapping field {field}: values must be a table such as {{ success = 200 }}."
        )
    *steps, name = [
        step.replace("~1", "/").replace("~0", "~") for step in path.removeprefix("/").split("/")
    ]
    return Place(tuple(steps), name, _PER_SECOND[unit] if "unit" in entry else None, values)


# Parsers: (value, units per second or None) to the value in the field's own type. None means
# absent; an error means that the value cannot be used.


def _text(value: Any, _: float | None) -> str | None:
    return value or None if type(value) is str else _wrong_type(value)


def _name(value: Any, _: float | None) -> str | None:
    return str(value) if type(value) is int else _text(value, _)


def _passage(value: Any, _: float | None) -> str | None:
    return text_of(value) if type(value) is list else _text(value, _)


def _messages(value: Any, _: float | None) -> Any:
    return value


def _number(value: Any, _: float | None) -> float | None:
    number = value if type(value) is float else msgspec.convert(value, float, strict=False)
    return number if isfinite(number) else None


def _count(value: Any, _: float | None) -> int | None:
    if type(value) is int and 0 <= value <= MAX_COUNT:
        return value
    if type(value) is float and not isfinite(value):
        return None
    return msgspec.convert(value, Count, strict=False)


def _length_or_count(value: Any, _: float | None) -> int | None:
    return len(value) if type(value) is list else _count(value, _)


def _flag(value: Any, _: float | None) -> bool:
    return value > 0 if type(value) is int else msgspec.convert(value, bool, strict=False)


def _milliseconds(value: Any, per_second: float | None) -> int | None:
    number = _number(value, None)
    scale = 1.0 if per_second is None else 1e3 / per_second
    return None if number is None else _count(round(number * scale), None)


def _time(value: Any, per_second: float | None) -> float:
    try:
        return msgspec.convert(value, float, strict=False) / (per_second or 1.0)
    except ValueError:
        if type(value) not in (int, str):
            raise
    try:
        moment = msgspec.convert(value, datetime)
    except ValueError:
        raise ElementError(
            "bad_time", "ts is neither a finite number nor an RFC 3339 time"
        ) from None
    if moment.tzinfo is None:
        raise ElementError("bad_time", "ts has no offset: RFC 3339 times end in Z or +hh:mm")
    return moment.timestamp()


def _wrong_type(value: Any) -> NoReturn:
    raise TypeError(type(value))


class _Parser(NamedTuple):
    parse: Callable[[Any, float | None], Any]
    expected: str


_NAMES = _Parser(_name, "a string")
_COUNTS = _Parser(_count, f"a whole number from 0 to {MAX_COUNT}")
_PASSAGES = _Parser(_passage, "a string or a list of parts")
_PARSERS = {
    "ts": _Parser(_time, "a time"),
    "api_key": _Parser(_text, "a string"),
    "id": _NAMES,
    "account": _NAMES,
    "end_user": _NAMES,
    "payment": _NAMES,
    "ip": _NAMES,
    "tls_fingerprint": _NAMES,
    "user_agent": _NAMES,
    "country": _NAMES,
    "model": _NAMES,
    "asn": _COUNTS,
    "status": _COUNTS,
    "latency_ms": _Parser(_milliseconds, "a duration"),
    "max_tokens": _COUNTS,
    "input_tokens": _COUNTS,
    "output_tokens": _COUNTS,
    "prompt": _PASSAGES,
    "system": _PASSAGES,
    "messages": _Parser(_messages, "a list of messages"),
    "turns": _COUNTS,
    "temperature": _Parser(_number, "a number"),
    "n": _COUNTS,
    "logprobs": _Parser(_flag, "a boolean"),
    "tools": _Parser(_length_or_count, "a number or a list of tools"),
}
_PRESETS = {"native": {field: f"/{field}" for field in _PARSERS}, **PRESETS}
