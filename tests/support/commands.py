"""What a command comes to when a test runs it in its own process (the fixture `xm`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Ended(NamedTuple):
    status: int
    out: str
    error: str


Xm = Callable[..., Ended]
