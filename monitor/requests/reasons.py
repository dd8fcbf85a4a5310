"""Why an element of a message cannot become an event."""

from __future__ import annotations

from typing import Literal, get_args

Reason = Literal[
    "empty",
    "not_json",
    "undecodable",
    "not_an_object",
    "missing_field",
    "wrong_type",
    "bad_time",
    "future",
    "too_large",
    "not_a_fingerprint",
]
REASONS: tuple[Reason, ...] = get_args(Reason)

# Why a record of a log is no request of its own.
IGNORED = ("other_operation", "other_type", "outer_call", "joined", "answer", "no_row")


class ElementError(Exception):
    """Why an element cannot become an event. The detail never quotes the element."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
