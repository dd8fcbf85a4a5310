"""Finds the session that a request belongs to."""

from __future__ import annotations

from starlette.requests import Request

from monitor.config import Settings
from pipelines.console.access.session import Session


class SignOn:
    """Signs people on by the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def __call__(self, request: Request) -> Session | None:
        """The session of a request."""
        return None
