"""Why an element of a message cannot become an event."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

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


class Rejection(msgspec.Struct, frozen=True):
    """An element that cannot be used.

    Attributes:
        reason: one of `REASONS`.
        detail: what is wrong and with which field; never quotes the element.
        source: index of the message in its batch.
        value: bytes of the element; of a message that is too large, the first `KEPT_BYTES`.
        element: index of the element in its message.
    """

    reason: Reason
    detail: str
    source: int
    value: bytes
    element: int = 0
