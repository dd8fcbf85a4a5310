"""Policy: which decision follows from the alerts that are open on a subject.

Each alert leads up a ladder: from the first action of its kind and severity to the last, one step
per `ladder_minutes` that it is open. The strongest action of any alert is the decision. It is
renewed at half of its duration, and when it gets stronger, but only by evidence that confirms an
alert. Without such evidence it leads down again: after each action the next weaker one holds for
its own duration, then nothing.

One end user must not get an application blocked: while the evidence against a key comes from few
of its end users, the decision on the key is at most LIMIT_OF_FEW. The end users get their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from monitor import config
from monitor.alerting.alerts import ACTIONS, SEVERITIES, Action, OpenAlert, Severity, weaker
from monitor.alerting.decisions import Decision, Scope, mark_of_alert
from monitor.kernels.due import Ladders
from monitor.records.profile import DAY, PAST_DAYS, PAST_HOURS, REQUESTS, SCALES

LIMIT_OF_FEW: Action = "throttle"  # on a key, while the evidence comes from few of its end users
ANY_KIND = "any other"
_LEAST_RATE = 1.0  # requests per minute that a throttled key may send, whatever it did before


class Ladder(NamedTuple):
    """The first action of an alert, and the last one that it can lead to."""

    first: Action
    last: Action

    @property
    def bounds(self) -> tuple[int, int]:
        """Index of both in ACTIONS."""
        return ACTIONS.index(self.first), ACTIONS.index(self.last)


_INFO = Ladder("observe", "mark")
_SLOW, _PROVE = Ladder("throttle", "throttle"), Ladder("challenge", "challenge")
_REFUSE = Ladder("block", "block")
#: The ladder for each kind of alert and severity; ANY_KIND is for the kinds without a row.
# A volume may be honest, and so may a work list, so they are only slowed down. Elicitation and
# campaigns are deliberate. Only its owner can say whether a key was taken over. Nothing but a
# critical alert leads to a block.
LADDERS: Mapping[str, Mapping[Severity, Ladder]] = {
    "burst": {"info": _INFO, "warning": _SLOW, "critical": _SLOW},
    "harvest": {"info": _INFO, "warning": _SLOW, "critical": _SLOW},
    "elicitation": {"info": _INFO, "warning": _PROVE, "critical": _REFUSE},
    "campaign": {"info": _INFO, "warning": _PROVE, "critical": _REFUSE},
    "takeover": {"info": _INFO, "warning": _PROVE, "critical": _PROVE},
    ANY_KIND: {
        "info": _INFO,
        "warning": Ladder("throttle", "challenge"),
        "critical": Ladder("challenge", "block"),
    },
}


class Ruling(NamedTuple):
    """The action on a subject, its duration in seconds, and the alert that leads to it."""

    action: Action
    seconds: float
    alert: OpenAlert


class Policy:
    """Makes decisions.

    Args:
        settings: the durations, and the time between two steps up.

    Attributes:
        shortest: seconds of the shortest decision.
        step: seconds between two steps up the ladder.
    """

    def __init__(self, settings: config.Decisions) -> None:
        self._settings = settings
        self.step = 60.0 * settings.ladder_minutes
        self._seconds = {action: duration(action, settings) for action in ACTIONS}
        self._steps = {action: steps_down(action, settings) for action in ACTIONS}
        self.shortest = min(self._seconds[action] for action in ACTIONS[1:])

    def due(
        self,
        alerts: Sequence[OpenAlert],
        decided: float,
        now: float,
        limit: Action = "block",
        *,
        changed: bool = False,
    ) -> Ruling | None:
        """What must be decided on a subject now; `None` if its last decision still serves.

        Args:
            alerts: open on it.
            decided: when that decision was made, event time, epoch seconds; 0 without one.
            now: event time.
            limit: the strongest action allowed.
            changed: whether an alert has opened or got more severe since then.
        """
        if not alerts:
            return None
        ruling = self._ruling(alerts, now, limit)
        if ruling.action == "observe":
            return None
        if changed or now - decided >= ruling.seconds / 2:
            return ruling
        before = self._ruling(alerts, decided, limit).action
        return ruling if ACTIONS.index(ruling.action) > ACTIONS.index(before) else None

    def strongest(self, alerts: Sequence[OpenAlert], now: float, limit: Action) -> Action:
        """The one action on a subject with these open alerts. Arguments as of `due`."""
        return self._ruling(alerts, now, limit).action

    def ladders(self, kinds: Sequence[str]) -> Ladders:
        """The ladders of the kinds of alerts in the slots of a record."""
        actions = [[(0, 0), *(_bounds(kind, each) for each in SEVERITIES)] for kind in kinds]
        seconds = np.array(list(self._seconds.values()))
        return Ladders(np.array(actions), seconds, self.step)

    def decision(
        self,
        subject: str,
        ruling: Ruling,
        now: float,
        *,
        origin: str,
        scope: Scope,
        rate: float | None = None,
        ties: Sequence[str] = (),
        mark: str | None = None,
        requests: float = 0.0,
    ) -> Decision:
        """The decision of a ruling on a subject.

        Args:
            subject: pseudonym.
            rate: requests per minute of its usual busy hours; `None` if it has no past.
            ties: see `Decision`.
            mark: see `Decision`; default: that of the alert.
            requests: in a usual hour; 0 if it has no past.
        """
        action, seconds, alert = ruling
        return Decision(
            key=subject,
            action=action,
            reason=alert.id,
            made_at=now,
            seconds=seconds,
            origin=origin,
            scope=scope,
            kind=alert.kind,
            rate=rate or self._settings.throttle_rate,
            ties=tuple(filter(None, ties)),
            steps=self._steps[action],
            mark=mark or mark_of_alert(alert.id),
            requests=requests,
        )

    def _ruling(self, alerts: Sequence[OpenAlert], at: float, limit: Action) -> Ruling:
        """The ruling at a time, epoch seconds."""
        strength, strongest = -1, alerts[0]
        for alert in alerts:
            first, last = _bounds(alert.kind, alert.severity)
            reached = min(first + max(int((at - alert.opened) // self.step), 0), last)
            if reached > strength:
                strength, strongest = reached, alert
        action = weaker(ACTIONS[strength], limit)
        return Ruling(action, self._seconds[action], strongest)


def action_for(kind: str, severity: Severity) -> Action:
    """The first action for an alert."""
    return _ladder(kind, severity).first


def _ladder(kind: str, severity: Severity) -> Ladder:
    return LADDERS.get(kind, LADDERS[ANY_KIND])[severity]


@lru_cache
def _bounds(kind: str, severity: Severity) -> tuple[int, int]:
    return _ladder(kind, severity).bounds


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
    following = ACTIONS[1 : max(1, ACTIONS.index(action))]
    return tuple((each, duration(each, settings)) for each in reversed(following))


def usual_rate(record: Any) -> float | None:
    """Requests per minute in the usual busy hours of a key; `None` while it has no past.

    The mean of the key's own hours on a log scale, plus a standard deviation. Each hour counts only
    up to a volume that is ordinary for all keys, so no key creates a past without a limit.

    Args:
        record: its RECORD.
    """
    age = float(record["last_seen"]) - float(record["first_seen"])
    if age < PAST_DAYS * DAY or record["own_hours"] < PAST_HOURS:
        return None
    level = REQUESTS.start + SCALES.index("1h")
    usual = float(record["own_mean"][level] + np.sqrt(record["own_variance"][level]))
    return max(float(np.exp2(usual) - 1.0) / 60.0, _LEAST_RATE)


def requests_a_day(record: Any) -> float:
    """Requests of a key in the last 24 hours, from its RECORD."""
    return float(np.exp2(record["level"][REQUESTS.start + SCALES.index("24h")]) - 1.0)
