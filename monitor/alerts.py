"""The life of an alert: open, update, resolve."""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["open", "update", "resolved"]
Severity = Literal["info", "warning", "critical"]
Action = Literal["observe", "throttle", "challenge", "block"]


class Subject(msgspec.Struct, frozen=True):
    """Whom an alert is about: a key, or a campaign with its members. Ids are pseudonyms."""

    type: Literal["api_key", "campaign"]
    id: str
    members: list[str] = []


class Alert(msgspec.Struct, frozen=True):
    """One statement about a subject, as it goes on the wire (one JSON object a message).

    `id` names the alert through all its states; (id, state, detected_at) names this statement.
    Times are event time, in seconds since the epoch. `evidence` holds numbers only.
    """

    id: str
    kind: str
    state: State
    severity: Severity
    score: float
    subject: Subject
    detected_at: float
    window: tuple[float, float]
    evidence: dict[str, float]
    summary: str
    decision: Action
    version: int = 1
