"""What an order would do, before it is confirmed: who would be hit, and what holds it back.

Ordinary traffic is counted as the caps count it: the requests of a key's usual busy hour, none of a
key without a past. A person confirms what this page showed. If a person has changed something since
then, or the order now reaches many more keys, the new preview has to be confirmed instead. What
detectors decide in between does not count, or an attacker could hold up every confirmation.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from monitor.alerting.caps import admitted_keys
from monitor.alerting.decisions import ActiveDecision
from monitor.alerting.enforcement import CAPS, KILL, OPERATOR, Allowance, Control
from monitor.store.connection import execute
from monitor.store.redis import CAPS_KEY, TRAFFIC_KEY
from pipelines.console.actions.order import Order
from pipelines.console.page import Console
from pipelines.console.view.reach import Reached, reached_keys
from pipelines.inspect.decisions import Applied, allowance, applied

_MOST_READ = 5_000  # keys of accounts whose records are read
_GROWN, _MORE = 1.1, 5  # times as many keys, and this many more: ask again


class Hit(msgspec.Struct, frozen=True):
    """A subject of the order.

    Attributes:
        account: of a key, if it is known.
        keys: that it stands for, as far as they are listed.
        role: in the campaign: member, bystander or nothing.
        members: how many of its keys are members of the campaign.
        hour: requests in the last complete hour, of all its keys.
        usual: requests in their usual busy hours; 0 without a past.
        allowed: entry of the allow-list on it; a decision on it has no effect.
        exempt: entry on its account. It holds back detectors, but not a person's decision.
        applies: what gateways do now; `None` without a decision.
    """

    subject: str
    account: str
    keys: int
    role: str
    members: int
    hour: int
    usual: float
    tokens: float
    cost: float
    allowed: Allowance | None
    exempt: Allowance | None
    applies: Applied | None


class Lost(msgspec.Struct, frozen=True):
    """Ordinary traffic per hour.

    Attributes:
        share: of all requests of the last hour; `None` if those are unknown.
    """

    requests: float
    tokens: float
    cost: float
    share: float | None


class Caps(msgspec.Struct, frozen=True):
    """The caps of this hour, which hold back detectors and not people.

    Attributes:
        used: keys that were challenged or blocked in the last hour.
        most: that may be.
        lifted: whether a person has lifted the caps.
    """

    used: int
    most: int
    lifted: bool


class Preview(msgspec.Struct, frozen=True):
    """What an order would do.

    Attributes:
        hits: one for each subject, bystanders and the most ordinary traffic first.
        keys: number of keys that are reached.
        others: of these, the ones of accounts that are no member of the campaign.
        decided: by action, subjects on which a decision is in force already.
        hour: requests of all these keys in the last complete hour.
        kill: whether the kill switch is on.
        shadow: whether decisions by hand are only recorded; `None`: unknown.
        seen: of what it has to be confirmed with.
    """

    hits: list[Hit]
    keys: int
    others: int
    bystanders: int
    allowed: int
    exempt: int
    decided: dict[str, int]
    hour: int
    lost: Lost
    caps: Caps
    kill: bool
    shadow: bool | None
    seen: str


def preview(console: Console, order: Order, roles: Mapping[str, str], now: float) -> Preview:
    """What an order would do now.

    Args:
        roles: of the keys of the campaign that the order comes from.
        now: wall-clock time, epoch seconds.
    """
    control, setting = console.control.read(), console.store.shadow()
    reached = reached_keys(console.view, order.subjects, _MOST_READ)
    usual = _usual_hours(console, [each.key for each in reached])
    in_force = dict(zip(order.subjects, console.store.in_force(order.subjects), strict=True))
    by_subject = _by_subject(order.subjects, reached)
    hits = [
        _hit(subject, by_subject[subject], usual, roles, in_force[subject], control, setting, now)
        for subject in order.subjects
    ]
    hits.sort(key=lambda hit: (hit.role != "bystander", -hit.usual, -hit.hour, hit.subject))
    kill = control.is_on(KILL, now, default=False)
    shadows = {control.is_shadow(OPERATOR, now, default=each) for each in _defaults(setting)}
    shadow = shadows.pop() if len(shadows) == 1 else None
    by_hand = [each for each in in_force.items() if any(d.origin == OPERATOR for d in each[1])]
    allowed = {hit.subject for hit in hits if hit.allowed or hit.exempt}
    traffic, caps = _caps(console, control, now)
    return Preview(
        hits=hits,
        keys=len(reached),
        others=sum(1 for each in reached if each.key not in roles) if roles else 0,
        bystanders=sum(1 for each in reached if roles.get(each.key) == "bystander"),
        allowed=sum(1 for hit in hits if hit.allowed),
        exempt=sum(1 for hit in hits if hit.exempt),
        decided=dict(Counter(hit.applies.action for hit in hits if hit.applies).most_common()),
        hour=sum(each.hour for each in reached),
        lost=_lost(reached, usual, traffic),
        caps=caps,
        kill=kill,
        shadow=shadow,
        seen=_seen(order, len(reached), kill, shadow, by_hand, allowed),
    )


def is_same(seen: str, preview: Preview) -> bool:
    """Whether what a person has seen is still what would happen."""
    digest, _, keys = seen.partition(".")
    now_digest, _, now_keys = preview.seen.partition(".")
    if digest != now_digest or not keys.isascii() or not keys.isdigit():
        return False
    return int(now_keys) <= _GROWN * int(keys) + _MORE


def _seen(
    order: Order,
    keys: int,
    kill: bool,
    shadow: bool | None,
    by_hand: Sequence[tuple[str, list[ActiveDecision]]],
    allowed: set[str],
) -> str:
    """What people have set that matters to an order, as a digest, and the number of keys."""
    decided = sorted(
        (subject, each.reason)
        for subject, decisions in by_hand
        for each in decisions
        if each.origin == OPERATOR
    )
    what = (sorted(order.subjects), order.action, order.rate)
    state = msgspec.json.encode((what, kill, shadow, decided, sorted(allowed)))
    return f"{hashlib.blake2b(state, digest_size=16).hexdigest()}.{keys}"


def _hit(
    subject: str,
    keys: Sequence[Reached],
    usual: Mapping[str, float],
    roles: Mapping[str, str],
    decisions: Sequence[ActiveDecision],
    control: Control,
    setting: bool | None,
    now: float,
) -> Hit:
    account = keys[0].account if keys and keys[0].key == subject else ""
    return Hit(
        subject=subject,
        account=account,
        keys=len(keys),
        role=roles.get(subject, ""),
        members=sum(1 for each in keys if roles.get(each.key) == "member"),
        hour=sum(each.hour for each in keys),
        usual=sum(usual.get(each.key, 0.0) for each in keys),
        tokens=sum(each.tokens for each in keys),
        cost=sum(each.cost for each in keys),
        allowed=allowance(control, subject, now),
        exempt=allowance(control, account, now) if account else None,
        applies=applied(decisions, control, setting, now),
    )


def _by_subject(subjects: Sequence[str], reached: Sequence[Reached]) -> dict[str, list[Reached]]:
    found: dict[str, list[Reached]] = {subject: [] for subject in subjects}
    for each in reached:
        for name in {each.key, each.account} & found.keys():
            found[name].append(each)
    return found


def _usual_hours(console: Console, keys: Sequence[str]) -> dict[str, float]:
    """Requests in the usual busy hours of keys; without those that have no past."""
    from monitor.alerting.policy import usual_rate
    from monitor.records.migrations import read

    found = dict[str, float]()
    store = console.store
    for partition in sorted(store.baselines()) if store.server.is_cluster else [""]:
        for key, data in zip(keys, store.load(store.names(partition, keys)), strict=True):
            if data is not None and (rate := usual_rate(read(data))):
                found[key] = found.get(key, 0.0) + 60.0 * rate
    return found


def _lost(reached: Sequence[Reached], usual: Mapping[str, float], traffic: int) -> Lost:
    requests = tokens = cost = 0.0
    for each in reached:
        hour = usual.get(each.key, 0.0)
        requests += hour
        tokens += hour * each.tokens / max(each.requests, 1)
        cost += hour * each.cost / max(each.requests, 1)
    return Lost(requests, tokens, cost, min(requests / traffic, 1.0) if traffic else None)


def _caps(console: Console, control: Control, now: float) -> tuple[int, Caps]:
    """Requests of all keys in the last hour, and the caps."""
    traffic = sum(map(int, _hash(console, TRAFFIC_KEY).values()))
    used = admitted_keys(_hash(console, CAPS_KEY), now)
    most = console.settings.decisions.cap_keys
    return traffic, Caps(used, most, not control.is_on(CAPS, now, default=True))


def _hash(console: Console, key: str) -> dict[bytes, bytes]:
    def run() -> Any:
        with console.store.server.connection(key) as connection:
            return execute(connection, [("HGETALL", key)])[0]

    found = console.store.server.run(run)
    return dict(zip(found[::2], found[1::2], strict=True))


def _defaults(setting: bool | None) -> tuple[bool, ...]:
    return (True, False) if setting is None else (setting,)
