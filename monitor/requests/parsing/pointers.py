"""Pointers: JSON Pointers (RFC 6901) that also reach into what logs wrap.

A step into a string parses the JSON that the string holds. A step below a name such as `headers`
ignores case, and finds a header also in an array of names and values.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from monitor.requests.parsing.json_text import parse_text

Pointer = tuple[str, ...]

_POINTER = re.compile(r"(/([^~/]|~[01])*)*")
_HEADER_NAME = ("name", "Name", "key", "Key")
_HEADER_VALUE = ("value", "Value")


def compile_pointer(text: Any) -> Pointer | None:
    """The steps of a pointer; none for "", the whole document; `None` if it is no pointer."""
    if not isinstance(text, str) or not _POINTER.fullmatch(text):
        return None
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:])


class Document:
    """A document that pointers are followed in. A string in it is parsed at most once.

    Args:
        value: the parsed JSON.
        parse_text: reads the JSON in a string.
    """

    def __init__(self, value: Any, parse_text: Callable[[str], Any] = parse_text) -> None:
        self.value = value
        self._parse_text = parse_text
        self._parsed: dict[int, Any] = {}  # by identity of the string, which `value` keeps alive

    def find(self, steps: Pointer) -> Any:
        """The value that a pointer leads to, or `None`."""
        value, headers = self.value, False
        for step in steps:
            value = self.child(value, step, headers)
            if value is None:
                return None
            headers = is_headers(step)
        return value

    def child(self, holder: Any, name: str, headers: bool = False) -> Any:
        """The value under a name in an object or an index in an array, or `None`.

        Args:
            headers: whether the holder is a set of HTTP headers.
        """
        if type(holder) is str:
            holder = self.opened(holder)
        if type(holder) is dict:
            value = holder.get(name)
            return _header(holder.items(), name) if value is None and headers else value
        if type(holder) is not list:
            return None
        if name.isdecimal():
            return holder[int(name)] if len(name) < 9 and int(name) < len(holder) else None
        return _header([_pair(each) for each in holder], name) if headers else None

    def opened(self, text: str) -> Any:
        """The object or array in a string; any other string unchanged."""
        key = id(text)
        if key not in self._parsed:
            self._parsed[key] = self._parse_text(text)
        inner = self._parsed[key]
        return text if inner is None else inner


class Holders:
    """The objects and arrays that several pointers lead through; each is found once a document."""

    def __init__(self) -> None:
        self._places: dict[Pointer, int] = {(): 0}
        self._steps: list[tuple[int, str, bool]] = []  # number of the outer one, name, headers

    def add(self, steps: Pointer) -> int:
        """The number of the holder that a pointer leads to."""
        if steps not in self._places:
            outer = self.add(steps[:-1])
            self._steps.append((outer, steps[-1], any(map(is_headers, steps[-2:-1]))))
            self._places[steps] = len(self._steps)
        return self._places[steps]

    def find(self, document: Document) -> list[Any]:
        """All holders in a document, by number; `None` where there is none."""
        found = [document.value]
        for outer, name, headers in self._steps:
            holder = found[outer]
            if holder is None:
                found.append(None)
            elif type(holder) is dict and not headers:
                found.append(holder.get(name))
            else:
                found.append(document.child(holder, name, headers))
        return found


def is_headers(step: str) -> bool:
    """Whether a name is one under which logs write HTTP headers."""
    return "header" in step.lower()


def _header(pairs: Any, name: str) -> Any:
    wanted = name.lower()
    for found, value in pairs:
        if type(found) is str and found.lower() == wanted:
            return value
    return None


def _pair(entry: Any) -> tuple[Any, Any]:
    """The name and value of a header in an array of headers."""
    if type(entry) is dict:
        name = next((entry[key] for key in _HEADER_NAME if key in entry), None)
        return name, next((entry[key] for key in _HEADER_VALUE if key in entry), None)
    if type(entry) is list and len(entry) == 2:
        return entry[0], entry[1]
    if type(entry) is str and ":" in entry:
        name, _, value = entry.partition(":")
        return name, value.strip()
    return None, None
