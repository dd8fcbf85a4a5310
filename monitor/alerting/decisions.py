"""Decisions: what a gateway should do with a key, an account or an end user, and for how long.

A decision follows from the alerts that are open on a subject: the strongest action of any of them.
It expires by itself. While the alert is confirmed, the decision is renewed at half of its duration.
One end user must not get an application blocked: while the evidence against a key comes from few
of its end users, the decision on the key is at most LIMIT_OF_FEW. The end users get their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, Self, TypeVar

import msgspec

from monitor import config
from monitor.alerting.alerts import ACTIONS, Action, Severity

Scope = Literal["api_key", "account", "end_user"]  # what a decision applies to
_D = TypeVar("_D", bound="Decision")
ORIGINS = ("detector", "campaign", "account")  # each decides on a key on its own
LIMIT_OF_FEW: Action = "throttle"  # on a key, while the evidence comes from few of its end users

ANY_KIND = "any other"
#: The decision for each kind of alert and severity; ANY_KIND is for the kinds without a row.
# A volume may be honest, so it is only slowed down. Elicitation and campaigns are deliberate. Only
# its owner can say whether a key was taken over.
POLICY: Mapping[str, Mapping[Severity, Action]] = {
    "burst": {"info": "observe", "warning": "throttle", "critical": "throttle"},
    "elicitation": {"info": "observe", "warning": "challenge", "critical": "block"},
    "campaign": {"info": "observe", "warning": "challenge", "critical": "block"},
    "takeover": {"info": "observe", "warning": "challenge", "critical": "challenge"},
    ANY_KIND: {"info": "observe", "warning": "throttle", "critical": "challenge"},
}


class Decision(msgspec.Struct, frozen=True):
    """What to do with a subject. Times are event time; `seconds` is its duration.

    Attributes:
        key: pseudonym of the key, account or end user.
        reason: id of the alert that it follows from.
        origin: one of ORIGINS.
        scope: what `key` names: api_key, account or end_user.
    """

    key: str
    action: Action
    reason: str
    made_at: float
    seconds: float
    origin: str = "detector"
    scope: Scope = "api_key"

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
    """The action for an alert."""
    return POLICY.get(kind, POLICY[ANY_KIND])[severity]


def stronger(decisions: Iterable[_D | None]) -> _D | None:
    """The strongest of several decisions on a key, the first of equals; `None` without any."""
    return max(
        (decision for decision in decisions if decision is not None),
        key=lambda decision: ACTIONS.index(decision.action),
        default=None,
    )


def strongest(actions: Iterable[Action]) -> Action:
    """The strongest of several actions; `observe` without any."""
    return max(actions, key=ACTIONS.index, default="observe")


def duration(action: Action, settings: config.Decisions) -> float:
    """Duration of an action in seconds; 0 for `observe`, which needs no decision."""
    minutes = {
        "observe": 0.0,
        "throttle": settings.throttle_minutes,
        "challenge": settings.challenge_minutes,
        "block": settings.block_minutes,
    }
    return 60.0 * minutes[action]
