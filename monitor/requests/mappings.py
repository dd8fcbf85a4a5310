"""Mappings: where, in somebody else's log line, each field of a request event stands.

A mapping is a table from field to place. A place is a JSON Pointer (RFC 6901), a list of places
of which the first that holds something usable wins, or a table that also gives the unit of a
time or what words stand for:

    [mapping]
    preset = "litellm"                              # optional: start from a preset
    api_key = "/metadata/user_api_key_alias"
    end_user = ["/end_user", "/metadata/user_id"]
    ts = { path = "/startTimeMs", unit = "ms" }     # s, ms, us or ns
    status = { path = "/outcome", values = { ok = 200, failed = 500 } }
    system = []                                     # read nothing

Numbers and times in strings are read as such, an array of tools as its length, and null and
empty strings as nothing at all. The presets are such tables (`monitor/requests/presets.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from math import isfinite
from typing import Annotated, Any, Literal, NamedTuple, NoReturn

import msgspec

from monitor.errors import ConfigError
from monitor.requests.presets import EXPLODE, PRESETS
from monitor.requests.turns import text_of

LARGEST_COUNT = 2**32 - 1

Count = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_COUNT)]
Reason = Literal[
    "empty",
    "not_json",
    "not_an_object",
    "missing_field",
    "wrong_type",
    "bad_time",
    "future",
    "late",
    "too_large",
    "not_a_fingerprint",
]

_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_REQUIRED = ("ts", "api_key")
_KINDS = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}


class ElementError(Exception):
    """Why an element cannot become an event. The detail holds nothing of its content."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Place(NamedTuple):
    """One place a field may stand at: a name in the object or array that the steps lead to."""

    steps: tuple[str, ...]
    name: str
    per_second: float | None
    values: Mapping[str, Any] | None


class Table:
    """A mapping, made ready to read documents with."""

    def __init__(self, mapping: str | Mapping[str, Any]) -> None:
        spec = {"preset": mapping} if isinstance(mapping, str) else dict(mapping)
        preset = spec.pop("preset", "")
        if preset not in ["", *_PRESETS]:
            raise ConfigError(
                f"There is no mapping preset {preset!r}: use {', '.join(_PRESETS)} "
                "or a table of fields."
            )
        self.native = preset == "native" and not spec
        self.explode = EXPLODE.get(preset)
        places = {
            field: [_place(field, one) for one in (found if isinstance(found, list) else [found])]
            for field, found in (_PRESETS.get(preset, {}) | spec).items()
        }
        for field in _REQUIRED:
            if not places.get(field):
                raise ConfigError(
                    f"The mapping does not say where {field} stands: add a line such as "
                    f'{field} = "/{field}".'
                )
        steps = [place.steps for found in places.values() for place in found]
        self._holders = list(dict.fromkeys(steps))  # each is looked up once a document
        self._plan = [
            (field, [(self._holders.index(place.steps), place) for place in places[field]], reader)
            for field, reader in _READERS.items()
            if field in places
        ]

    def read(self, document: dict[str, Any]) -> dict[str, Any]:
        """The fields found, each in its own type; raises `ElementError` where one cannot be."""
        holders = [_walk(document, steps) for steps in self._holders]
        found = {}
        for field, places, reader in self._plan:
            fault: tuple[Reason, str] | None = None
            for index, (_, name, per_second, values) in places:
                holder = holders[index]
                value = holder.get(name) if type(holder) is dict else _look(holder, name)
                if values is not None:
                    value = _meaning(value, values)
                if value is None:
                    continue
                try:
                    value = reader.read(value, per_second)
                except ElementError as why:
                    fault = fault or (why.reason, why.detail)
                except (ValueError, TypeError, OverflowError):
                    kind = _KINDS.get(type(value), "a number out of its range")
                    fault = fault or ("wrong_type", f"{field} is {kind}, not {reader.of}")
                else:
                    if value is not None:
                        found[field] = value
                        break
            else:
                if fault is not None:
                    raise ElementError(*fault)
                if field in _REQUIRED:
                    raise ElementError("missing_field", f"{field} is missing or empty")
        return found


def _walk(document: Any, steps: tuple[str, ...]) -> Any:
    for step in steps:
        document = _look(document, step)
    return document


def _look(holder: Any, name: str) -> Any:
    """What an object or array holds under a name or index, or `None`."""
    if type(holder) is dict:
        return holder.get(name)
    if type(holder) is list and name.isdecimal() and int(name) < len(holder):
        return holder[int(name)]
    return None


def _meaning(word: Any, values: Mapping[str, Any]) -> Any:
    """What a word stands for; a number not listed stands for itself, any other word for nothing."""
    if type(word) not in (str, int):
        return None
    return values.get(str(word), word if str(word).isdecimal() else None)


def _place(field: str, spec: Any) -> Place:
    if field not in _READERS:
        raise ConfigError(f"There is no field {field!r} to map: use {', '.join(_READERS)}.")
    entry = {"path": spec} if isinstance(spec, str) else spec
    if not isinstance(entry, Mapping) or entry.keys() - {"path", "unit", "values"}:
        raise ConfigError(
            f"Mapping field {field} must be a JSON Pointer, a list of places, or a table of "
            "path and, where needed, unit or values."
        )
    path, unit, values = entry.get("path"), entry.get("unit", "s"), entry.get("values")
    if not isinstance(path, str) or not re.fullmatch(r"(/([^~/]|~[01])*)+", path):
        raise ConfigError(
            f"Mapping field {field}: {path!r} is no JSON Pointer; write it like /request/model, "
            "with ~1 for / and ~0 for ~ inside a name."
        )
    if "unit" in entry and (unit not in [*_PER_SECOND] or field not in ("ts", "latency_ms")):
        raise ConfigError(
            f"Mapping field {field} cannot have the unit {unit!r}: only ts and latency_ms have "
            f"one, and it is {', '.join(_PER_SECOND)}."
        )
    if values is not None and not isinstance(values, Mapping):
        raise ConfigError(
            f"Mapping field {field}: values must be a table such as {{ success = 200 }}."
        )
    *steps, name = [
        step.replace("~1", "/").replace("~0", "~") for step in path.removeprefix("/").split("/")
    ]
    return Place(tuple(steps), name, _PER_SECOND[unit] if "unit" in entry else None, values)


# How each field is read: (value, units per second or None) to the value in the field's own type,
# None where the value says nothing, an error where it cannot be used.


def _text(value: Any, _: float | None) -> str | None:
    return value or None if type(value) is str else _refuse(value)


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
    if type(value) is int and 0 <= value <= LARGEST_COUNT:
        return value
    if type(value) is float and not isfinite(value):
        return None
    return msgspec.convert(value, Count, strict=False)


def _tally(value: Any, _: float | None) -> int | None:
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
        raise ElementError("bad_time", "ts is no finite number and no RFC 3339 time") from None
    if moment.tzinfo is None:
        raise ElementError("bad_time", "ts has no offset: RFC 3339 times end in Z or +hh:mm")
    return moment.timestamp()


def _refuse(value: Any) -> NoReturn:
    raise TypeError(type(value))


class _Reader(NamedTuple):
    read: Callable[[Any, float | None], Any]
    of: str


_NAMES = _Reader(_name, "a string")
_COUNTS = _Reader(_count, f"a whole number from 0 to {LARGEST_COUNT}")
_PASSAGES = _Reader(_passage, "a string or a list of parts")
_READERS = {
    "ts": _Reader(_time, "a time"),
    "api_key": _Reader(_text, "a string"),
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
    "latency_ms": _Reader(_milliseconds, "a duration"),
    "max_tokens": _COUNTS,
    "input_tokens": _COUNTS,
    "output_tokens": _COUNTS,
    "prompt": _PASSAGES,
    "system": _PASSAGES,
    "messages": _Reader(_messages, "a list of messages"),
    "turns": _COUNTS,
    "temperature": _Reader(_number, "a number"),
    "n": _COUNTS,
    "logprobs": _Reader(_flag, "a boolean"),
    "tools": _Reader(_tally, "a number or a list of tools"),
}
_PRESETS = {"native": {field: f"/{field}" for field in _READERS}, **PRESETS}
