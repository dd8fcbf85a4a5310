"""Decisions: what a gateway should do with a key, an account or an end user, and for how long.

A decision follows from the alerts that are open on a subject: the strongest action of any of them.
Each alert leads up a ladder: from the first action of its kind and severity to the last, one step
per `ladder_minutes` for as long as evidence confirms it. A decision is renewed at half of its
duration. When the evidence ends, the decision leads down again: after each action the next weaker
one holds for its own duration, then nothing.

One end user must not get an application blocked: while the evidence against a key comes from few
of its end users, the decision on the key is at most LIMIT_OF_FEW. The end users get their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, Self, TypeVar

import msgspec

from monitor import config
from monitor.alerting.alerts import ACTIONS, Action, Severity

Scope = Literal["api_key", "account", "end_user"]  # what a decision applies to
_D = TypeVar("_D", bound="Decision")
#: Each decides on a subject on its own. An operator's decision outranks those of the others.
ORIGINS = ("detector", "campaign", "account", "operator")
LIMIT_OF_FEW: Action = "throttle"  # on a key, while the evidence comes from few of its end users

ANY_KIND = "any other"


class Ladder(NamedTuple):
    """The first action of an alert, and the last one that it can lead to."""

    first: Action
    last: Action

    def after(self, steps: int) -> Action:
        """The action that many steps up."""
        at = min(ACTIONS.index(self.first) + steps, ACTIONS.index(self.last))
        return ACTIONS[at]


_NOTHING, _SLOWER = Ladder("observe", "mark"), Ladder("throttle", "throttle")
_PROOF, _REFUSAL = Ladder("challenge", "challenge"), Ladder("block", "block")
#: The ladder for each kind of alert and severity; ANY_KIND is for the kinds without a row.
# A volume may be honest, so it is only slowed down. Elicitation and campaigns are deliberate. Only
# its owner can say whether a key was taken over. Nothing but a critical alert leads to a block.
POLICY: Mapping[str, Mapping[Severity, Ladder]] = {
    "burst": {"info": _NOTHING, "warning": _SLOWER, "critical": _SLOWER},
    "elicitation": {"info": _NOTHING, "warning": _PROOF, "critical": _REFUSAL},
    "campaign": {"info": _NOTHING, "warning": _PROOF, "critical": _REFUSAL},
    "takeover": {"info": _NOTHING, "warning": _PROOF, "critical": _PROOF},
    ANY_KIND: {
        "info": _NOTHING,
        "warning": Ladder("throttle", "challenge"),
        "critical": Ladder("challenge", "block"),
    },
}


class Decision(msgspec.Struct, frozen=True):
    """What to do with a subject. Times are event time.

    Attributes:
        key: pseudonym of the key, account or end user.
        reason: id of the alert that it follows from.
        seconds: duration of `action`.
        origin: one of ORIGINS.
        scope: what `key` names: api_key, account or end_user.
        kind: of the alert.
        rate: requests per minute that a throttled subject may send; `None` where no one knows.
        ties: pseudonyms of the account, payment and network behind the requests: an entry of the
            allow-list on one of them exempts the subject.
        shadow: whether to record this decision without enforcing it.
        steps: the actions that follow when `action` is over, and the duration of each, seconds.
        mark: id of the mark that the gateway puts on responses.
    """

    key: str
    action: Action
    reason: str
    made_at: float
    seconds: float
    origin: str = "detector"
    scope: Scope = "api_key"
    kind: str = ""
    rate: float | None = None
    ties: tuple[str, ...] = ()
    shadow: bool = False
    steps: tuple[tuple[Action, float], ...] = ()
    mark: str | None = None

    @property
    def duration(self) -> float:
        """Seconds from its start to the end of its last step."""
        return self.seconds + sum(seconds for _, seconds in self.steps)

    @property
    def until(self) -> float:
        """When it ends, epoch seconds."""
        return self.made_at + self.duration

    def step_at(self, now: float) -> tuple[Action, float]:
        """The action at a time, and when that action ends; `observe` once all of it is over."""
        end = self.until
        if now >= end:
            return "observe", end
        for action, seconds in reversed(self.steps):
            if now >= end - seconds:
                return action, end
            end -= seconds
        return self.action, end

    def action_at(self, now: float) -> Action:
        """The action at a time, epoch seconds."""
        return self.step_at(now)[0]


class ActiveDecision(Decision, frozen=True, kw_only=True):
    """A decision as a store has it, with the end that the store enforces.

    Attributes:
        expires_at: end of its last step, wall-clock time, epoch seconds; `None` if an older version
            wrote it.
        capped: whether more keys or traffic are challenged or blocked than allowed without a
            person: the action is at most `throttle` then.
    """

    expires_at: float | None = None
    capped: bool = False

    @property
    def until(self) -> float:
        """When it ends, epoch seconds."""
        return self.made_at + self.duration if self.expires_at is None else self.expires_at

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
        expires_at = start + decision.duration
        if expires_at <= now:
            return None
        return cls(**msgspec.structs.asdict(decision), expires_at=expires_at)


def action_for(kind: str, severity: Severity) -> Action:
    """The first action for an alert."""
    return POLICY.get(kind, POLICY[ANY_KIND])[severity].first


def stronger(decisions: Iterable[_D | None], now: float | None = None) -> _D | None:
    """The strongest of several decisions on a key, the first of equals; `None` without any.

    Args:
        now: compare the actions at this time, epoch seconds; default: the first ones.
    """

    def strength(decision: _D) -> int:
        return ACTIONS.index(decision.action if now is None else decision.action_at(now))

    return max((each for each in decisions if each is not None), key=strength, default=None)


def strongest(actions: Iterable[Action]) -> Action:
    """The strongest of several actions; `observe` without any."""
    return max(actions, key=ACTIONS.index, default="observe")


def duration(action: Action, settings: config.Decisions) -> float:
    """Duration of an action in seconds; 0 for `observe`, which needs no decision."""
    minutes = {
        "observe": 0.0,
        "mark": settings.mark_minutes,
        "throttle": settings.throttle_minutes,
        "challenge": settings.challenge_minutes,
        "block": settings.block_minutes,
    }
    return 60.0 * minutes[action]


def steps_down(action: Action, settings: config.Decisions) -> tuple[tuple[Action, float], ...]:
    """What follows an action: the weaker ones, the strongest first, and their seconds."""
    weaker = ACTIONS[1 : max(1, ACTIONS.index(action))]
    return tuple((each, duration(each, settings)) for each in reversed(weaker))
