"""Detects in real time when someone is extracting a model through its API.

The library: `Engine` observes requests, `Linker` finds campaigns among the keys, `Settings` holds
thresholds and sizes. They are imported on first use, because they take seconds to load.

>>> from monitor import Settings
>>> Settings().topics.requests
'llm.requests'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monitor.config import Settings
    from monitor.engine import Engine
    from monitor.linker import Linker

__all__ = ["Engine", "Linker", "Settings"]

_MODULES = {"Engine": "engine", "Linker": "linker", "Settings": "config"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
