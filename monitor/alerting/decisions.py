"""Decisions: what a gateway should do with a key, an account or an end user, and for how long.

A decision has an action and the steps that follow it, each weaker than the one before. It expires
by itself. `policy.py` makes decisions from alerts, `enforcement.py` says which of them apply.
"""

from __future__ import annotations

import hashlib
from typing import Literal, Self, TypeVar

import msgspec

from monitor.alerting.alerts import Action

Scope = Literal["api_key", "account", "end_user"]  # what a decision applies to
_D = TypeVar("_D", bound="Decision")
#: Each decides on a subject on its own. An operator's decision outranks those of the others.
ORIGINS = ("detector", "campaign", "account", "operator")


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
        mark: id of the mark that the gateway puts on responses; the same for all members of a
            campaign.
        requests: of the subject in a usual hour; 0 if it has no past.
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
    requests: float = 0.0

    @property
    def duration(self) -> float:
        """Seconds from its start to the end of its last step."""
        return self.seconds + sum(seconds for _, seconds in self.steps)

    @property
    def until(self) -> float:
        """When it ends, epoch seconds."""
        return self.made_at + self.duration

    @property
    def ends(self) -> list[tuple[Action, float]]:
        """Each action in turn, and when it ends, epoch seconds."""
        end, found = self.until, []
        for action, seconds in reversed(((self.action, self.seconds), *self.steps)):
            found.append((action, end))
            end -= seconds
        return found[::-1]

    def step_at(self, now: float) -> tuple[Action, float]:
        """The action at a time, and when that action ends; `observe` once all of it is over."""
        return next(((each, end) for each, end in self.ends if now < end), ("observe", self.until))

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


def mark_of(subject: str) -> str:
    """The id of the mark of a campaign, or of a subject that a person decided on.

    Args:
        subject: id of the campaign, or a pseudonym.
    """
    text = f"mark\n{subject}".encode("utf-8", "replace")
    return "m_" + hashlib.blake2b(text, digest_size=10).hexdigest()


def mark_of_alert(alert: str) -> str:
    """The id of the mark of a subject that detectors decided on.

    Args:
        alert: id of the alert that the decision follows from.
    """
    return "m" + alert.removeprefix("a")
