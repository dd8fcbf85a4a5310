"""What applies to a request: the decisions on its subjects, as far as people let them be enforced.

Detectors decide; people hold back. In this order:

1. The kill switch is on: nothing is enforced.
2. An allow-list entry covers the subject, or an account, payment or network that it used: nothing.
3. The alert was withdrawn ("not an attack"): its decisions count for nothing.
4. A person has decided on the subject: that replaces what the detectors decided, also downward.
   `observe` lifts a decision.
5. Shadow mode, in general, for the kind of alert or for the decision: nothing.
6. The decision is beyond the caps of an hour: at most LIMIT_OF_CAPPED.

What is left is compared, and the strongest action applies. Everything that shows or enforces a
decision calls `effective`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from monitor.alerting.alerts import ACTIONS, SEVERITIES, Action, Severity, weaker
from monitor.alerting.decisions import ActiveDecision
from monitor.detectors import ALERT_KINDS

OPERATOR = "operator"  # origin and kind of a person's decision
SHADOW_KINDS = (*ALERT_KINDS, "campaign", OPERATOR)  # that have a shadow mode of their own
LIMIT_OF_CAPPED: Action = "throttle"
KILL, SHADOW, CAPS = "kill", "shadow", "caps"  # switches

#: Why an action is weaker than the decision, or who decided; empty: as the detectors decided.
Why = Literal["", "kill", "allowed", "withdrawn", "operator", "shadow", "capped"]


class Switch(msgspec.Struct, frozen=True):
    """A switch as a person has set it.

    Attributes:
        at: wall-clock time, epoch seconds, as all times here.
        until: when it ends by itself; `None`: when a person sets it again.
    """

    on: bool
    who: str
    why: str
    at: float
    until: float | None = None


class Allowance(msgspec.Struct, frozen=True):
    """An entry of the allow-list.

    Attributes:
        subject: pseudonym of a key, account, end user, payment or network.
        owner: who answers for it.
    """

    subject: str
    owner: str
    who: str
    why: str
    at: float
    expires_at: float


class Withdrawal(msgspec.Struct, frozen=True):
    """An alert that a person has found to be no attack.

    Attributes:
        alert: its id.
    """

    alert: str
    subject: str
    kind: str
    severity: Severity
    who: str
    why: str
    at: float


class Control(msgspec.Struct, frozen=True):
    """All that people have set.

    Attributes:
        switches: by name: `kill`, `shadow`, `shadow:<kind of alert>`, `caps`. The settings apply
            where there is none.
        allowed: by subject.
        withdrawn: by alert id.
    """

    switches: Mapping[str, Switch] = {}
    allowed: Mapping[str, Allowance] = {}
    withdrawn: Mapping[str, Withdrawal] = {}

    def is_on(self, name: str, now: float, default: bool) -> bool:
        """Whether a switch is on; `default` if nobody has set it."""
        switch = self.switches.get(name)
        if switch is None or (switch.until is not None and switch.until <= now):
            return default
        return switch.on

    def is_shadow(self, kind: str, now: float, default: bool) -> bool:
        """Whether decisions of a kind of alert are only recorded.

        Args:
            default: what the setting says.
        """
        return self.is_on(f"{SHADOW}:{kind}", now, self.is_on(SHADOW, now, default))

    def allowance(self, decision: ActiveDecision, now: float) -> Allowance | None:
        """The entry of the allow-list that exempts a decision's subject."""
        found = map(self.allowed.get, (decision.key, *decision.ties)) if self.allowed else ()
        return next((each for each in found if each and now < each.expires_at), None)

    @property
    def withdrawn_by_subject(self) -> dict[str, dict[str, int]]:
        """By subject and kind of alert, the highest severity withdrawn: its place, from 1."""
        found = dict[str, dict[str, int]]()
        for each in self.withdrawn.values():
            kinds, severity = found.setdefault(each.subject, {}), SEVERITIES.index(each.severity)
            kinds[each.kind] = max(kinds.get(each.kind, 0), severity + 1)
        return found

    def apply(self, name: str, value: bytes) -> Control:
        """The control after an entry of the feed, see `apply_all`."""
        return self.apply_all([(name, value)])

    def apply_all(self, entries: Iterable[tuple[str, bytes]]) -> Control:
        """The control after entries of the feed; those about something else are left out.

        Args:
            entries: names, and the JSON of one switch, allowance or withdrawal each; empty if it
                is gone.

        Raises:
            msgspec.MsgspecError: if this version cannot read a value.
        """
        changed = dict[str, dict[str, Any]]()
        for name, value in entries:
            for prefix, (field, kind) in _FIELDS.items():
                if name.startswith(prefix):
                    found = changed.setdefault(field, dict(getattr(self, field)))
                    found.pop(name.removeprefix(prefix), None)
                    if value:
                        found[name.removeprefix(prefix)] = msgspec.json.decode(value, type=kind)
        return msgspec.structs.replace(self, **changed) if changed else self


#: By the beginning of an entry's name: the attribute of `Control`, and what it has by the rest.
_FIELDS: dict[str, tuple[str, type[Any]]] = {
    "xm:control:": ("switches", Switch),
    "xm:allow:": ("allowed", Allowance),
    "xm:withdrawn:": ("withdrawn", Withdrawal),
}


class Effective(NamedTuple):
    """What applies.

    Attributes:
        action: to enforce.
        would_be: the action without kill switch, allow-list, withdrawals, shadow mode and caps.
        decision: that the action follows from; if nothing is enforced, the one held back.
        why: what holds the decision back, or `operator` if a person made it.
    """

    action: Action = "observe"
    would_be: Action = "observe"
    decision: ActiveDecision | None = None
    why: Why = ""


def effective(
    decisions: Iterable[ActiveDecision | None], control: Control, now: float, shadow: bool
) -> Effective:
    """What applies to a request.

    Args:
        decisions: on all its subjects, of all origins; those that have ended are left out.
        control: what people have set.
        now: wall-clock time, epoch seconds.
        shadow: the setting, for while nobody has switched shadow mode on or off.
    """
    of_people, of_detectors = dict[str, ActiveDecision](), list[ActiveDecision]()
    for decision in decisions:
        if decision is not None and now < decision.until:
            if decision.origin == OPERATOR:
                of_people[decision.key] = decision
            else:
                of_detectors.append(decision)
    deciding = [*of_people.values(), *(each for each in of_detectors if each.key not in of_people)]
    found = [_limited(decision, control, now, shadow) for decision in deciding]
    if not found:
        return Effective()
    held_back = max(found, key=lambda each: ACTIONS.index(each.would_be))
    applied = max(found, key=lambda each: ACTIONS.index(each.action))
    if applied.action == "observe":
        return held_back
    return applied._replace(would_be=held_back.would_be)


def _limited(decision: ActiveDecision, control: Control, now: float, shadow: bool) -> Effective:
    """What one decision comes to."""
    action = decision.action_at(now)
    limit, why = _limit(decision, control, now, shadow)
    return Effective(weaker(action, limit), action, decision, why)


def _limit(
    decision: ActiveDecision, control: Control, now: float, shadow: bool
) -> tuple[Action, Why]:
    """The strongest action that a decision may lead to, and why."""
    if control.is_on(KILL, now, default=False):
        return "observe", "kill"
    if control.allowance(decision, now):
        return "observe", "allowed"
    if decision.reason in control.withdrawn:
        return "observe", "withdrawn"
    if decision.shadow or control.is_shadow(decision.kind, now, default=shadow):
        return "observe", "shadow"
    if decision.capped and control.is_on(CAPS, now, default=True):
        return LIMIT_OF_CAPPED, "capped"
    return "block", "operator" if decision.origin == OPERATOR else ""
