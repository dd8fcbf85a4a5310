"""What applies to a request: the decisions on its subjects, as far as people let them be enforced.

Detectors decide; people hold back. In this order:

1. The kill switch is on: nothing is enforced.
2. An allow-list entry covers the subject, or an account, payment or network that it used: nothing.
3. The alert was withdrawn ("not an attack"): its decisions count for nothing.
4. A person has decided on the subject: that replaces what the detectors decided, also downward.
   `observe` lifts a decision.
5. Shadow mode, in general, for the kind of alert or for the decision: nothing.
6. The decision is beyond the caps of an hour: at most LIMIT_OF_CAPPED.

What is left is compared, and the strongest action applies. It has the mark of the campaign if the
subject is a member of one. Everything that shows or enforces a decision calls `effective`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Literal, NamedTuple

import msgspec

from monitor.alerting.alerts import ACTIONS, SEVERITIES, Action, Severity, weaker
from monitor.alerting.decisions import ActiveDecision
from monitor.detectors import ALERT_KINDS

OPERATOR = "operator"  # origin and kind of a person's decision
CAMPAIGN = "campaign"  # origin of decisions and kind of alert
GROWN = 8.0  # times as many requests per day as when an alert was withdrawn: something new
LEAST_ACTIVE = 0.25  # share of a withdrawn campaign's keys, to recognise it
LEAST_REQUESTS = 1_000.0  # per day, of a subject that had fewer
SHADOW_KINDS = (*ALERT_KINDS, CAMPAIGN, OPERATOR)  # that have a shadow mode of their own
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
        subject: of the alert.
        requests: per day, of the subject or of a campaign's median member, at that time; 0 if that
            is unknown: then no number of requests is new behaviour.
        members: of the campaign at that time; empty if they are unknown.
        for_one: whether it is withdrawn for `subject` alone, one key of the campaign or account
            that the alert is about.
    """

    alert: str
    subject: str
    kind: str
    severity: Severity
    who: str
    why: str
    at: float
    requests: float = 0.0
    members: list[str] = []
    for_one: bool = False

    @property
    def name(self) -> str:
        """Under which it is stored."""
        return withdrawal_name(self.alert, self.subject if self.for_one else "")


def withdrawal_name(alert: str, key: str = "") -> str:
    """The name of the withdrawal of an alert, for all or for one key alone."""
    return f"{alert}/{key}" if key else alert


class Cleared(NamedTuple):
    """What a person has found to be no attack, of one subject and kind of alert.

    Something new ends it: a higher severity, GROWN times as many requests, or a campaign of other
    keys.

    Attributes:
        severity: the highest that is withdrawn: its place in SEVERITIES, from 1.
        requests: as in `Withdrawal`.
        members: as in `Withdrawal`.
    """

    severity: int
    requests: float = 0.0
    members: frozenset[str] = frozenset()

    def covers(self, severity: int, requests: float, *, is_open: bool = False) -> bool:
        """Whether an alert is no news.

        Args:
            severity: of the alert, its place in SEVERITIES, from 1.
            requests: per day, now.
            is_open: whether the alert is open. It then stays open until requests have halved, so
                that it does not open and resolve in turn.
        """
        limit = GROWN * max(self.requests, LEAST_REQUESTS) / (2.0 if is_open else 1.0)
        return severity <= self.severity and (self.requests <= 0.0 or requests <= limit)

    def is_of(self, members: AbstractSet[str], active: int) -> bool:
        """Whether a campaign is the one that was withdrawn: it shares most of the smaller one.

        Args:
            active: number of the withdrawn campaign's keys that are active now. If few are, the
                others still count in part: one key among strangers is something new.
        """
        size = max(float(active), LEAST_ACTIVE * len(self.members))
        return 2 * len(self.members & members) > min(size, len(members))


class Control(msgspec.Struct, frozen=True):
    """All that people have set.

    Attributes:
        switches: by name: `kill`, `shadow`, `shadow:<kind of alert>`, `caps`. The settings apply
            where there is none.
        allowed: by subject.
        withdrawn: by `withdrawal_name`.
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
    def withdrawn_by_subject(self) -> dict[str, dict[str, Cleared]]:
        """By subject and kind of alert, what is withdrawn."""
        found = dict[str, dict[str, Cleared]]()
        for each in sorted(self.withdrawn.values(), key=lambda each: each.at):
            if each.for_one and each.kind != CAMPAIGN:
                continue  # of an account: its own alert goes on, this key gets no decision
            kinds = found.setdefault(each.subject, {})
            new = Cleared(
                SEVERITIES.index(each.severity) + 1, each.requests, frozenset(each.members)
            )
            kinds[each.kind] = _either(kinds[each.kind], new) if each.kind in kinds else new
        return found

    def is_withdrawn(self, decision: ActiveDecision) -> bool:
        """Whether the alert behind a decision is withdrawn, for all or for the decision's key."""
        return bool(self.withdrawn) and (
            decision.reason in self.withdrawn
            or withdrawal_name(decision.reason, decision.key) in self.withdrawn
        )

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


def _either(one: Cleared, other: Cleared) -> Cleared:
    """What either of two withdrawals of one subject and kind clears."""
    requests = (one.requests, other.requests)
    return Cleared(
        max(one.severity, other.severity),
        0.0 if 0.0 in requests else max(requests),
        one.members | other.members if one.members and other.members else frozenset(),
    )


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
    return _with_mark(applied, of_detectors, control, now, shadow)._replace(
        would_be=held_back.would_be
    )


def _with_mark(
    applied: Effective,
    of_detectors: Iterable[ActiveDecision],
    control: Control,
    now: float,
    shadow: bool,
) -> Effective:
    """The same with the mark of the campaign, if a decision on a member of one is in force."""
    assert applied.decision is not None
    for each in of_detectors:
        if (
            each.origin == CAMPAIGN
            and each.mark not in (None, applied.decision.mark)
            and _limited(each, control, now, shadow).action != "observe"
        ):
            decision = msgspec.structs.replace(applied.decision, mark=each.mark)
            return applied._replace(decision=decision)
    return applied


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
    if control.is_withdrawn(decision):
        return "observe", "withdrawn"
    if decision.shadow or control.is_shadow(decision.kind, now, default=shadow):
        return "observe", "shadow"
    if decision.capped and control.is_on(CAPS, now, default=True):
        return LIMIT_OF_CAPPED, "capped"
    return "block", "operator" if decision.origin == OPERATOR else ""
