"""The result of a command that a test runs in its own process with the fixture `xm`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Ended(NamedTuple):
    status: int
    out: str
    error: str


Xm = Callable[..., Ended]
