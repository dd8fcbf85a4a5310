"""The options of a mapping besides its fields, checked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from monitor.errors import ConfigError
from monitor.requests.parsing.pointers import Pointer, compile_pointer

Identity = Literal["plain", "sha256"]


def only(spec: Any) -> tuple[Pointer, tuple[str, ...]] | None:
    if spec is None:
        return None
    path = compile_pointer(spec.get("path")) if isinstance(spec, Mapping) else None
    kinds = spec.get("values") if path else None
    if not path or not isinstance(kinds, list) or not kinds:
        raise ConfigError(
            'Mapping: only must be a table such as { path = "/type", values = ["chat"] }.'
        )
    return path, tuple(kinds)


def pointers(name: str, spec: Any) -> list[Pointer]:
    pointers = [compile_pointer(each) for each in (spec if isinstance(spec, list) else [spec])]
    found = [steps for steps in pointers if steps is not None]
    if len(found) < len(pointers):
        raise ConfigError(
            f"Mapping: {name} must be a JSON Pointer such as /payload, or a list of them of which "
            'the first that leads to something is used; "" is the whole element.'
        )
    return found


def identity(spec: Any) -> Identity:
    if spec not in get_args(Identity):
        raise ConfigError(
            f"Mapping: identity cannot be {spec!r}. Use sha256 if the log names API keys by their "
            "SHA-256 in hex, or plain."
        )
    identity: Identity = spec
    return identity


def strip(spec: Any) -> tuple[str, ...]:
    if not isinstance(spec, list) or not all(isinstance(each, str) for each in spec):
        raise ConfigError('Mapping: strip must be a list of prefixes such as ["Bearer "].')
    return tuple(prefix.lower() for prefix in spec if prefix)


def zone(spec: Any) -> tzinfo | None:
    if spec is None:
        return None
    try:
        return ZoneInfo(spec)
    except (ValueError, TypeError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise ConfigError(
            f"Mapping: unknown zone {spec!r}. Use an IANA name such as UTC or Europe/Berlin."
        ) from None
