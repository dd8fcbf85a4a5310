"""The versions that a result depends on: program, models and detection settings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from pydantic import BaseModel, ValidationError

import monitor
from monitor.config import Settings
from monitor.errors import InputError
from monitor.evidence.facts import Versions

_DIGITS = 16  # of a digest
_SHIPPED = Path(monitor.__file__).parent
#: Settings from which alerts follow, besides the files that have digests of their own.
_DETECTION = ("mapping", "read_share", "detection", "campaigns", "decisions")
_NOT_OF_RESULTS = {"campaigns.weights", "decisions.shadow"}

Value = float | int | str | bool


def versions(settings: Settings) -> Versions:
    """The versions that a worker with these settings uses."""
    detection = dict(_detection(settings))
    return Versions(
        program=version("extraction-monitor"),
        reference=_digest(settings.reference, "records/reference.json"),
        content=_digest(settings.content, "prompts/content.json"),
        tasks=_digest(settings.tasks, "records/harvest/tasks.json"),
        campaigns=_digest(settings.campaigns.weights, "campaigns/weights.json"),
        settings=_short(msgspec.json.encode(_plain(detection), order="sorted")),
        detection=detection,
    )


def with_detection(settings: Settings, known: Versions) -> tuple[Settings, list[str]]:
    """The settings with the detection settings of a case, and those that have no place in them.

    Raises:
        InputError: if a setting of the case cannot be used.
    """
    updates: dict[str, dict[str, Any]] = {}
    unknown = []
    for name, value in known.detection.items():
        part, _, field = name.partition(".")
        if name not in dict(_detection(settings)):
            unknown.append(name)
        elif field:
            updates.setdefault(part, {})[field] = value
        else:
            updates[part] = {"": _mapping(value) if part == "mapping" else value}
    found: dict[str, Any] = {}
    for part, values in updates.items():
        nested = getattr(settings, part)
        is_model = isinstance(nested, BaseModel)
        found[part] = {**nested.model_dump(), **values} if is_model else values[""]
    try:
        checked = {
            part: type(getattr(settings, part)).model_validate(value)
            if isinstance(getattr(settings, part), BaseModel)
            else value
            for part, value in found.items()
        }
    except ValidationError as error:
        raise InputError(f"The settings in the case cannot be used: {error}.") from error
    return settings.model_copy(update=checked), unknown


def _detection(settings: Settings) -> Iterator[tuple[str, Value]]:
    for name in _DETECTION:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            for field in type(value).model_fields:
                if f"{name}.{field}" not in _NOT_OF_RESULTS:
                    yield f"{name}.{field}", getattr(value, field)
        else:
            is_table = isinstance(value, dict)
            yield name, msgspec.json.encode(value).decode() if is_table else value


def _plain(detection: dict[str, Value]) -> dict[str, Value]:
    """The settings with all numbers as decimals: 30 and 30.0 are the same."""
    return {
        name: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in detection.items()
    }


def _mapping(value: Value) -> Any:
    """A preset's name, or a table from its JSON."""
    text = str(value)
    return msgspec.json.decode(text) if text.startswith("{") else text


def _digest(file: Path | None, shipped: str) -> str:
    return _short((file or _SHIPPED / shipped).read_bytes())


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_DIGITS]
