"""Where the value of each setting comes from, and the value as it may be shown."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, SecretStr

from monitor.config.catalogue import ROUTE, Setting, settings, shown
from monitor.config.settings import DEFAULT_FILE, Settings, hint
from monitor.errors import InputError

HIDDEN = "***"
_LOGIN = re.compile(r"(://)([^\s]*)@")
_SECRET_OPTION = re.compile(
    r"([?&][^=&#]*(?:password|secret|token|signature|api_?key)[^=&#]*=)[^&#]*", re.IGNORECASE
)
_PATH = re.compile(r"(https?://[^/\s]+/).+")


class Value(NamedTuple):
    """A setting's value.

    Attributes:
        setting: in the catalogue; of a receiver, its name is in the path.
        text: the value, without secrets.
        source: where it comes from.
        place: the variable, or the file and line.
    """

    setting: Setting
    text: str
    source: Literal["environment", "file", "default"]
    place: str


class File(NamedTuple):
    """A settings file.

    Attributes:
        path: as named.
        begins: the line on which each setting and each section begins.
    """

    path: str
    begins: dict[tuple[str, ...], int]


def settings_file() -> File | None:
    """The settings file that this process reads; `None` without one."""
    path = Path(os.environ.get("XM_CONFIG", DEFAULT_FILE))
    if not path.is_file():
        return None
    return File(str(path), _begins(path.read_text(encoding="utf-8").splitlines()))


def _begins(lines: list[str]) -> dict[tuple[str, ...], int]:
    """Where settings begin: behind the last lines that are complete without them."""
    found: dict[tuple[str, ...], int] = {}
    after = 1
    for count in range(1, len(lines) + 1):
        try:
            content = tomllib.loads("\n".join(lines[:count]))
        except tomllib.TOMLDecodeError:  # within a value of several lines
            continue
        for path in _paths(content):
            found.setdefault(path, after)
        after = count + 1
    return found


def _paths(content: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in content.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from _paths(value, (*above, name))


def values(loaded: Settings) -> list[Value]:
    """The values of all settings, those of receivers last."""
    file = settings_file()
    found = []
    for setting in settings():
        paths = [setting.path]
        if ROUTE in setting.path:
            name = setting.path[-1]
            paths = [("receivers", "routes", each, name) for each in loaded.receivers.routes]
        for path in paths:
            each = Setting(path, setting.field)
            source, place = _source(path, file)
            found.append(Value(each, text_of(each, _value(loaded, path)), source, place))
    return found


def find(among: list[Value], name: str) -> Value:
    """The value of a setting by its name in the file, its variable or the end of its name.

    Raises:
        InputError: if there is no such setting, or more than one.
    """
    path = name.removeprefix("XM_").lower().replace("__", ".")
    exact = [each for each in among if each.setting.name == path]
    found = exact or [each for each in among if f".{each.setting.name}".endswith(f".{path}")]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(each.setting.name for each in found)
        raise InputError(f"{name} is the end of several settings: choose from {names}.")
    meant = hint(path.replace(".", "__"), lambda each: each.replace("__", "."))
    raise InputError(f"{name} is not a setting.{meant or ' `xm config show --all` lists them.'}")


def text_of(setting: Setting, value: object) -> str:
    """A value as it may be shown: secrets are hidden, also in URLs."""
    if value is None or value in ({}, [], ""):
        return setting.default
    if isinstance(value, SecretStr):
        return HIDDEN
    if setting.path[-2:] == ("receivers", "routes"):
        return ", ".join(value) if isinstance(value, Mapping) else HIDDEN
    if setting.name.endswith("webhook_url"):  # the path of many is a secret
        return _PATH.sub(rf"\1{HIDDEN}", without_secrets(str(value)))
    return without_secrets(shown(value))


def without_secrets(text: str) -> str:
    """A text whose URLs have no passwords."""
    return _SECRET_OPTION.sub(rf"\1{HIDDEN}", _LOGIN.sub(_masked, text))


def _masked(found: re.Match[str]) -> str:
    user, separator, _ = found[2].partition(":")
    return f"{found[1]}{user}:{HIDDEN}@" if separator else f"{found[1]}{HIDDEN}@"


def _source(
    path: tuple[str, ...], file: File | None
) -> tuple[Literal["environment", "file", "default"], str]:
    variables = {name.lower(): name for name in os.environ}
    for length in range(len(path), 0, -1):  # a whole section may be one variable, as JSON
        variable = f"xm_{'__'.join(path[:length])}".lower()
        if variable in variables:
            return "environment", variables[variable]
    line = None if file is None else file.begins.get(path)
    return ("default", "") if file is None or line is None else ("file", f"{file.path}:{line}")


def _value(loaded: BaseModel, path: tuple[str, ...]) -> Any:
    value: Any = loaded
    for name in path:
        value = value[name] if isinstance(value, dict) else getattr(value, name)
    return value
