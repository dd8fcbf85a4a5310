"""Decisions in Redis as they apply, and what people have set."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from monitor.alerting.alerts import ACTIONS, Action
from monitor.alerting.decisions import ActiveDecision
from monitor.alerting.enforcement import Allowance, Control, Effective, Switch, Why, effective
from monitor.config import Settings
from monitor.store import inventory
from monitor.store.control import ControlStore
from monitor.store.redis import RedisStore

#: `unknown`: no worker reports the setting of shadow mode, or workers differ.
Held = Why | Literal["unknown"]


class Applied(msgspec.Struct, frozen=True):
    """What applies to a subject, and the decision that it follows from.

    Attributes:
        action: that gateways enforce now.
        decided: the action without kill switch, allow-list, withdrawals, shadow mode and caps.
        why: what holds the decision back; `operator` if a person made it.
        until: when the decision ends, epoch seconds.
        kind: of the alert.
        reason: id of the alert; of a person's decision, of its audit entry.
        rate: requests per minute while throttled.
    """

    subject: str
    action: Action
    decided: Action
    why: Held
    until: float
    kind: str
    reason: str
    origin: str
    rate: float | None = None


class Enforcement(msgspec.Struct, frozen=True):
    """What people and settings have set.

    Attributes:
        setting: shadow mode by the settings of the running workers; `None` if none reports it, or
            they differ.
        switches: that people have set, by name.
    """

    setting: bool | None
    switches: dict[str, Switch]
    allowed: list[Allowance]

    @property
    def shadow(self) -> bool | None:
        """Whether shadow mode is on; `None` if that is unknown."""
        switch = self.switches.get("shadow")
        return self.setting if switch is None else switch.on


class DecisionList(msgspec.Struct, frozen=True):
    """All decisions in force, the strongest first."""

    enforcement: Enforcement
    decisions: list[Applied]


def enforcement(control: Control, setting: bool | None, now: float) -> Enforcement:
    """What is set at a wall-clock time, without what has ended."""
    switches = {
        name: switch
        for name, switch in control.switches.items()
        if switch.until is None or now < switch.until
    }
    allowed = [each for each in control.allowed.values() if now < each.expires_at]
    return Enforcement(setting, switches, sorted(allowed, key=lambda each: each.expires_at))


def enforced(
    decisions: Iterable[ActiveDecision], control: Control, setting: bool | None, now: float
) -> tuple[Effective, Held]:
    """What applies to one subject, and why it differs from what was decided.

    Args:
        decisions: on it, of all origins.
        setting: see `Enforcement`.
    """
    decisions = list(decisions)
    found, without = (
        effective(decisions, control, now, shadow) for shadow in (setting is not False, False)
    )
    depends = setting is None and found.why == "shadow" != without.why
    return found, "unknown" if depends else found.why


def allowance(control: Control, subject: str, now: float) -> Allowance | None:
    """The entry of the allow-list on a subject; `None` without one, or if it has ended."""
    found = control.allowed.get(subject)
    return found if found is not None and now < found.expires_at else None


def applied(
    decisions: Iterable[ActiveDecision], control: Control, setting: bool | None, now: float
) -> Applied | None:
    """What applies to one subject; `None` without a decision. Arguments as of `enforced`."""
    found, why = enforced(decisions, control, setting, now)
    decision = found.decision
    if decision is None:
        return None
    return Applied(
        subject=decision.key,
        action=found.action,
        decided=found.would_be,
        why=why,
        until=decision.until,
        kind=decision.kind,
        reason=decision.reason,
        origin=decision.origin,
        rate=decision.rate,
    )


def reader(store: RedisStore, settings: Settings) -> Callable[[str], Applied | None]:
    """Returns what applies to a subject, by what people have set at this moment."""
    control, setting = ControlStore(settings.redis_url).read(), store.shadow()
    return lambda subject: applied(store.in_force([subject])[0], control, setting, time.time())


def list_decisions(store: RedisStore, control: ControlStore) -> DecisionList:
    """All decisions in Redis. Reads page by page and does not block Redis."""
    set_by_people, setting, now = control.read(), store.shadow(), time.time()
    by_subject = defaultdict[str, list[ActiveDecision]](list)
    for decision in inventory.decisions(store.server):
        by_subject[decision.key].append(decision)
    found = (applied(group, set_by_people, setting, now) for group in by_subject.values())
    rows = [each for each in found if each is not None]
    rows.sort(key=lambda row: (-ACTIONS.index(row.action), -ACTIONS.index(row.decided), row.until))
    return DecisionList(enforcement(set_by_people, setting, now), rows)
