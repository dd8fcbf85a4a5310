"""The line about the running system that every page shows."""

from __future__ import annotations

import threading
import time

import msgspec

from monitor.config import Settings
from monitor.errors import MonitorError
from pipelines.console.view.database import READ, View
from pipelines.console.words import Words, span
from pipelines.health.status import State, read_status

_SECONDS = 5.0  # after which it is read again
_OLD = 60.0  # seconds after which what the pages list is old


class Line(msgspec.Struct, frozen=True):
    """The state in one line."""

    state: State
    text: str


class Health:
    """Reads the state in a thread. Callers get the last one without waiting. Threads may share it.

    Args:
        view: says when the reader last read Redis.
    """

    def __init__(self, settings: Settings, view: View, words: Words) -> None:
        self._settings, self._view, self._words = settings, view, words
        self._reading = threading.Lock()
        self._known: tuple[Line, Line] | None = None
        self._read_at = 0.0

    def __call__(self, *, scoped: bool) -> Line | None:
        """The latest state; `None` before the first one is read.

        Args:
            scoped: for a viewer with tenants: without numbers, which are of all tenants.
        """
        if time.monotonic() - self._read_at > _SECONDS and self._reading.acquire(blocking=False):
            threading.Thread(target=self._renew, daemon=True).start()
        return self._known[scoped] if self._known else None

    def _renew(self) -> None:
        try:
            self._known = self.read()
        finally:
            self._read_at = time.monotonic()
            self._reading.release()

    def read(self) -> tuple[Line, Line]:
        """The state now: in full, and for a viewer with tenants."""
        try:
            status = read_status(self._settings)
        except MonitorError as error:
            down: State = "down"
            return Line(down, str(error)), Line(down, self._words("health.down"))
        found = self._view.row("SELECT value FROM progress WHERE name = ?", (READ,))
        age = status.at - float(found["value"]) if found else None
        if age is None or age > _OLD:
            text = (
                self._words("health.new")
                if age is None
                else self._words("health.old", age=span(age))
            )
            state: State = "down" if status.state == "down" else "degraded"
            return Line(state, f"{text} {status.verdict}"), Line(state, text)
        return (
            Line(status.state, status.verdict),
            Line(status.state, self._words("health." + status.state)),
        )
