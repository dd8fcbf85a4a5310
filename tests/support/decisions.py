"""Decision services for tests, with a copy of decisions that the test fills."""

from __future__ import annotations

import time
from typing import Any

from monitor.alerting.alerts import Action
from monitor.alerting.decisions import ActiveDecision
from monitor.alerting.enforcement import Control
from monitor.config import Gateway
from monitor.identity import Identity
from monitor.requests.mappings import FieldMapping
from pipelines.decide.copy import DecisionCopy, Entry
from pipelines.decide.metrics import LookupMetrics
from pipelines.decide.service import DecisionService

IDENTITY = Identity(b"0123456789abcdef")


def loaded_copy(*, shadow: bool = False) -> DecisionCopy:
    """A copy without decisions."""
    copy = DecisionCopy(shadow=shadow)
    copy.load({}, Control(), "0-0")
    return copy


def service_on(
    copy: DecisionCopy, metrics: LookupMetrics | None = None, **settings: Any
) -> DecisionService:
    """A service with this copy."""
    gateway, mapping = Gateway(**settings), FieldMapping("native")
    return DecisionService(gateway, copy, IDENTITY, mapping, metrics or LookupMetrics())


def decide_on(copy: DecisionCopy, subject: str, action: Action, **fields: Any) -> None:
    """Put a decision on a subject into force, for a minute, as an entry of the feed does."""
    now = time.time()
    fields = {"expires_at": now + 60.0, **fields}
    fields = {"key": subject, "action": action, "reason": "a_1", "made_at": now, **fields}
    decision = ActiveDecision(seconds=60.0, **fields)
    number = int(copy.position.partition("-")[0]) + 1
    copy.apply([Entry(f"xm:d:{subject}", b"{}", decision)], f"{number}-0")


def decide(copy: DecisionCopy, key: str, action: Action, **fields: Any) -> None:
    """Put a decision on an API key into force."""
    decide_on(copy, IDENTITY.key(key), action, **fields)
