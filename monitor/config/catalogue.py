"""The catalogue of settings: names, defaults and meanings, for the documentation and `xm config`.

A description is a line of Markdown. It may end with the meaning of no value: "; default: shipped".
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from monitor.config.receivers import Route
from monitor.config.settings import Settings

ROUTE = "NAME"  # stands for the name of a receiver
_DEFAULT = re.compile(r"; default: ([^;]+)$")
_LINK = re.compile(r"\[([^\]]*)\]\(([^)]*)\)")


class Setting(NamedTuple):
    """A setting.

    Attributes:
        path: names from the outermost section: `("topics", "requests")`.
        field: its type, default and description.
    """

    path: tuple[str, ...]
    field: FieldInfo

    @property
    def name(self) -> str:
        """As in the file: `topics.requests`."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        """The environment variable: `XM_TOPICS__REQUESTS`."""
        return f"XM_{'__'.join(self.path).upper()}"

    @property
    def meaning(self) -> str:
        """The description as Markdown, without the default."""
        return _DEFAULT.sub("", self.field.description or "")

    @property
    def text(self) -> str:
        """The description as plain text."""
        return _LINK.sub(_reference, self.field.description or "").replace("`", "")

    @property
    def default(self) -> str:
        """The default as people read it; `none` if there is none."""
        if self.field.is_required():
            return "required"
        if self.field.default in (None, {}, [], ""):
            named = _DEFAULT.search(self.field.description or "")
            return named[1] if named else "none"
        return shown(self.field.default)

    @property
    def form(self) -> str:
        """What a value looks like."""
        return _form(self.field.annotation)

    @property
    def is_secret(self) -> bool:
        """Whether the value must not be shown."""
        return SecretStr in _parts(self.field.annotation)

    @property
    def is_file(self) -> bool:
        """Whether the value names a file."""
        return Path in _parts(self.field.annotation)

    @property
    def deprecated(self) -> str | None:
        """What to use instead of a deprecated setting."""
        return None if self.field.deprecated is None else str(self.field.deprecated)


@cache
def settings() -> tuple[Setting, ...]:
    """All settings, in the order of their sections; those of a receiver under `NAME`."""
    routes = _walk(Route, ("receivers", "routes", ROUTE))
    return (*_walk(Settings, ()), *routes)


def shown(value: object) -> str:
    """A value as in a settings file, without quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _reference(link: re.Match[str]) -> str:
    page = link[2] if not link[2].startswith("#") else f"configuration.md{link[2]}"
    return f"{link[1]} ({page.rpartition('/')[2]})"


def _walk(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            yield from _walk(nested, (*path, name))
        else:
            yield Setting((*path, name), field)


def _parts(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a type."""
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(part for part in get_args(annotation) if part is not type(None))
    return (annotation,)


_FORMS = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path of a file or folder",
    SecretStr: "secret text",
}


def _form(annotation: Any) -> str:
    parts = _parts(annotation)
    if len(parts) > 1:
        return " or ".join(_form(part) for part in parts)
    origin = get_origin(parts[0])
    if origin is Annotated:
        return _form(get_args(parts[0])[0])
    if origin is Literal:
        return "one of " + ", ".join(map(str, get_args(parts[0])))
    if origin in (dict, list):
        return "table" if origin is dict else "list"
    return _FORMS.get(parts[0], "text")
