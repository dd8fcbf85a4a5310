"""What a gateway should do with a key, and for how long.

A decision follows from the alerts that are open on a key: the strongest action of any of them.
It expires by itself. While its alert goes on being upheld it is made again at half of its time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self, TypeVar

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


_D = TypeVar("_D", bound="Decision")
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

    @property
    def until(self) -> float:
        """When it ends, epoch seconds."""
        return self.made_at + self.seconds


class ActiveDecision(Decision, frozen=True, kw_only=True):
    """A decision as a store has it, with the end that the store enforces.

    Attributes:
        expires_at: wall-clock time, epoch seconds; `None` if an older version wrote it.
    """

    expires_at: float | None = None

    @property
    def until(self) -> float:
        """When it ends, epoch seconds."""
        return self.made_at + self.seconds if self.expires_at is None else self.expires_at

    @classmethod
    def start(cls, decision: Decision, arrived: float | None, now: float) -> Self | None:
        """Put a decision into force, or return `None` if its time is over already.

        Event time may be months ago in a replay, so the time that is left is counted from the
        arrival of the request in Kafka. A worker that is an hour behind shortens its decisions by
        an hour.

        Args:
            arrived: when the request that led to it arrived, wall-clock time, epoch seconds;
                `None` if that is unknown, and then it holds in full from now on.
            now: wall-clock time.
        """
        start = now if arrived is None else min(arrived, now)
        expires_at = start + decision.seconds
        if expires_at <= now:
            return None
        return cls(**msgspec.structs.asdict(decision), expires_at=expires_at)


def action_for(kind: str, severity: Severity) -> Action:
    """The action that an alert calls for."""
    return _POLICY.get((kind, severity), _BY_SEVERITY[severity])


def stronger(decisions: Iterable[_D | None]) -> _D | None:
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
