"""What a gateway should do with a key, and for how long.

A decision follows from the alerts that are open on a key: the strongest action of any of them.
It expires by itself. While its alert goes on being upheld it is made again at half of its time.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from monitor import config
from monitor.alerting.alerts import ACTIONS, Action, Severity

# Bursts are dear but may be honest: slow them down first. Elicitation is no accident of volume,
# and a campaign none at all.
_POLICY: dict[tuple[str, Severity], Action] = {
    ("burst", "warning"): "throttle",
    ("burst", "critical"): "challenge",
    ("elicitation", "warning"): "challenge",
    ("elicitation", "critical"): "block",
    ("campaign", "warning"): "challenge",
    ("campaign", "critical"): "block",
}
_BY_SEVERITY: dict[Severity, Action] = {
    "info": "observe",
    "warning": "throttle",
    "critical": "challenge",
}


ORIGINS = ("detector", "campaign")  # who decides; each decides for itself


class Decision(msgspec.Struct, frozen=True):
    """What to do with a key. Times are event time; `seconds` is how long it holds."""

    key: str
    action: Action
    reason: str  # the alert that it follows from
    made_at: float
    seconds: float
    origin: str = "detector"
    scope: str = "api_key"


def action_for(kind: str, severity: Severity) -> Action:
    """The action that an alert calls for."""
    return _POLICY.get((kind, severity), _BY_SEVERITY[severity])


def stronger(decisions: Iterable[Decision | None]) -> Decision | None:
    """The one that counts of some decisions on a key: the strongest, the first of equals."""
    return max(
        (decision for decision in decisions if decision is not None),
        key=lambda decision: ACTIONS.index(decision.action),
        default=None,
    )


def strongest(actions: list[Action]) -> Action:
    """The strongest of some actions; `observe` of none."""
    return max(actions, key=ACTIONS.index, default="observe")


def duration(action: Action, settings: config.Decisions) -> float:
    """Seconds that an action holds; 0 for `observe`, which asks for nothing."""
    minutes = {
        "observe": 0.0,
        "throttle": settings.throttle_minutes,
        "challenge": settings.challenge_minutes,
        "block": settings.block_minutes,
    }
    return 60.0 * minutes[action]
