"""Requests that cannot be answered."""

from __future__ import annotations

from starlette.exceptions import HTTPException


class Refused(HTTPException):
    """A request that cannot be answered: what failed, why, and what to do."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(status, sentence)
