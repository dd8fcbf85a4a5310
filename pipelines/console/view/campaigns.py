"""Campaigns in the view, their members and bystanders.

A viewer with tenants sees the campaigns that have a member of theirs, with their own members only:
the numbers are of these members, and what the linker says about the whole is withheld.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from monitor.alerting.alerts import Action, Severity
from pipelines.console.view.database import View
from pipelines.console.view.keys import severity_of
from pipelines.console.view.scope import Condition, Tenants, among, both, of_campaign, of_tenants
from pipelines.inspect.campaign import CampaignDetail

CampaignState = Literal["open", "over", "merged"]
Role = Literal["member", "bystander"]
MemberOrder = Literal["confidence", "requests", "tokens", "cost", "last_seen", "first_seen", "key"]
MEMBER_ORDERS: tuple[MemberOrder, ...] = get_args(MemberOrder)
_COLUMNS = (
    "id, state, severity AS level, since, members, requests, tokens, cost, last_hour, decision, "
    "reason, ended, until, others, population"
)
_MEMBER = (
    "m.key, m.role, m.confidence, m.requests, m.tokens, m.cost, m.first_seen, m.last_seen, "
    "m.named, m.own_alert AS level, m.nats, m.shares, coalesce(k.account, '') AS account, "
    "coalesce(f.action, 'observe') AS action, coalesce(f.decided, 'observe') AS decided"
)
_FROM = (
    "members AS m LEFT JOIN keys AS k ON k.key = m.key "
    "LEFT JOIN in_force AS f ON f.subject = m.key AND f.until > unixepoch()"
)


class CampaignRow(msgspec.Struct, frozen=True):
    """A campaign. Times are event time, epoch seconds.

    Attributes:
        level: its severity, 1 to 3.
        last_hour: requests of its members in the last complete hour.
        reason: why it is one.
        ended: when it ended or merged, 0 before.
        until: of the newest fingerprint.
        others: other keys that its members were compared with, for the numbers about others.
        population: keys that the linker knows: more than `others` and members if it is a sample.
    """

    id: str
    state: CampaignState
    level: int
    since: float
    members: int
    requests: int
    tokens: int
    cost: float
    last_hour: int
    decision: Action
    reason: str
    ended: float
    until: float
    others: int
    population: int

    @property
    def severity(self) -> Severity | None:
        """Its severity."""
        return severity_of(self.level)


class MemberRow(msgspec.Struct, frozen=True):
    """A member or a bystander.

    Attributes:
        confidence: the probability that it is a member.
        named: when it was first listed in an alert, 0 if it was not.
        level: severity of its own most severe open alert, 0 without one.
        nats: its evidence by kind.
        shares: names of the traits that it shares with other members.
        account: empty if unknown.
        action: that gateways enforced when the reader last looked.
        decided: the same without what holds it back.
    """

    key: str
    role: Role
    confidence: float
    requests: int
    tokens: int
    cost: float
    first_seen: float
    last_seen: float
    named: float
    level: int
    nats: dict[str, float]
    shares: list[str]
    account: str
    action: Action
    decided: Action

    @property
    def severity(self) -> Severity | None:
        """Of its own most severe open alert."""
        return severity_of(self.level)


class Shares(msgspec.Struct, frozen=True):
    """A member or a bystander, and the names of the traits that it shares."""

    key: str
    role: Role
    shares: list[str]


class MemberPage(msgspec.Struct, frozen=True):
    """Some members, and the totals of all that match."""

    rows: list[MemberRow]
    total: int
    requests: int
    tokens: int
    cost: float


class MemberFilter(msgspec.Struct, frozen=True):
    """Which members are meant.

    Attributes:
        role: a member, a bystander, or both if it is empty.
        text: with which the pseudonym of the key or its account begins.
        trait: name of a trait that they share.
        least: confidence.
        named: only those that an alert has listed.
        undecided: only those without a decision.
    """

    role: Literal["", "member", "bystander"] = "member"
    text: str = ""
    trait: str = ""
    least: float = 0.0
    named: bool = False
    undecided: bool = False


def list_campaigns(
    view: View, tenants: Tenants, *, limit: int = 50
) -> tuple[list[CampaignRow], int]:
    """Open campaigns, the most severe and expensive first, and how many there are."""
    where = both(among("state", ("open",)), of_campaign("campaigns.id", tenants))
    query = (
        f"SELECT {_COLUMNS} FROM campaigns WHERE {where.sql} "
        "ORDER BY severity DESC, cost DESC, id LIMIT ?"
    )
    rows = view.structs(CampaignRow, query, [*where.parameters, limit])
    total = view.number(f"SELECT count(*) FROM campaigns WHERE {where.sql}", where.parameters)
    return [_scoped(view, row, tenants) for row in rows], total


def find_campaign(view: View, id: str, tenants: Tenants) -> CampaignRow | None:
    """A campaign; `None` if it is unknown, or none of its members is of these tenants."""
    where = both(Condition("id = ?", [id]), of_campaign("campaigns.id", tenants))
    query = f"SELECT {_COLUMNS} FROM campaigns WHERE {where.sql}"
    found = view.structs(CampaignRow, query, where.parameters)
    return _scoped(view, found[0], tenants) if found else None


def campaign_detail(view: View, id: str) -> CampaignDetail | None:
    """What the linker knows about a campaign, without members and bystanders: see `list_members`.

    Not for viewers with tenants: its numbers are of all members.
    """
    found = view.row("SELECT detail FROM campaigns WHERE id = ?", (id,))
    return None if found is None else msgspec.msgpack.decode(found["detail"], type=CampaignDetail)


def list_members(
    view: View,
    id: str,
    tenants: Tenants,
    wanted: MemberFilter | None = None,
    *,
    order: MemberOrder = "confidence",
    rising: bool = False,
    limit: int = 50,
    offset: int = 0,
) -> MemberPage:
    """Members or bystanders of a campaign, and the totals of all that match.

    Args:
        rising: whether the smallest values come first.
    """
    if order not in MEMBER_ORDERS:
        raise ValueError(order)
    where = _members(id, tenants, wanted or MemberFilter())
    way = "" if rising else "DESC"
    query = (
        f"SELECT {_MEMBER} FROM {_FROM} WHERE {where.sql} "
        f"ORDER BY m.{order} {way}, m.requests DESC, m.key LIMIT ? OFFSET ?"
    )
    rows = [
        msgspec.convert(
            dict(row) | {"nats": msgspec.json.decode(row["nats"]), "shares": _names(row["shares"])},
            MemberRow,
            strict=False,
        )
        for row in view.rows(query, [*where.parameters, limit, offset])
    ]
    totals = view.row(
        "SELECT count(*) AS total, coalesce(sum(m.requests), 0) AS requests, "
        "coalesce(sum(m.tokens), 0) AS tokens, coalesce(sum(m.cost), 0.0) AS cost "
        f"FROM {_FROM} WHERE {where.sql}",
        where.parameters,
    )
    return MemberPage(rows, *(totals or (0, 0, 0, 0.0)))


def member_keys(
    view: View, id: str, tenants: Tenants, wanted: MemberFilter | None = None
) -> list[str]:
    """The pseudonyms of all that match, in order."""
    where = _members(id, tenants, wanted or MemberFilter())
    query = f"SELECT m.key FROM {_FROM} WHERE {where.sql} ORDER BY m.key"
    return [row["key"] for row in view.rows(query, where.parameters)]


def list_shares(view: View, id: str, tenants: Tenants) -> list[Shares]:
    """Which traits each member and bystander shares, the most probable members first."""
    where = both(Condition("m.campaign = ?", [id]), of_tenants("k.tenant", tenants))
    query = (
        f"SELECT m.key, m.role, m.shares FROM {_FROM} WHERE {where.sql} "
        "ORDER BY m.confidence DESC, m.key"
    )
    rows = view.rows(query, where.parameters)
    return [Shares(row["key"], row["role"], _names(row["shares"])) for row in rows]


def campaigns_of(view: View, key: str, tenants: Tenants) -> list[tuple[CampaignRow, Role]]:
    """The campaigns of a key, open ones first, and its role in each."""
    where = both(Condition("m.key = ?", [key]), of_tenants("k.tenant", tenants))
    query = f"SELECT m.campaign, m.role FROM {_FROM} WHERE {where.sql}"
    roles: dict[str, Role] = {
        row["campaign"]: row["role"] for row in view.rows(query, where.parameters)
    }
    found = [find_campaign(view, id, tenants) for id in roles]
    rows = sorted(
        (each for each in found if each is not None),
        key=lambda each: (each.state != "open", -each.since),
    )
    return [(row, roles[row.id]) for row in rows]


def _members(id: str, tenants: Tenants, wanted: MemberFilter) -> Condition:
    conditions = [Condition("m.campaign = ?", [id]), of_tenants("k.tenant", tenants)]
    if wanted.role:
        conditions.append(Condition("m.role = ?", [wanted.role]))
    if wanted.text:
        begin, end = wanted.text, wanted.text + "\U0010ffff"
        conditions.append(
            Condition(
                "((m.key >= ? AND m.key < ?) OR (k.account >= ? AND k.account < ?))",
                [begin, end, begin, end],
            )
        )
    if wanted.trait:
        conditions.append(
            Condition(
                "EXISTS (SELECT 1 FROM json_each(m.shares) AS s WHERE s.value = ?)", [wanted.trait]
            )
        )
    if wanted.least:
        conditions.append(Condition("m.confidence >= ?", [wanted.least]))
    if wanted.named:
        conditions.append(Condition("m.named > 0", []))
    if wanted.undecided:
        conditions.append(Condition("coalesce(f.decided, 'observe') = 'observe'", []))
    return both(*conditions)


def _scoped(view: View, row: CampaignRow, tenants: Tenants) -> CampaignRow:
    """A campaign with the numbers of the viewer's own members only."""
    if not tenants:
        return row
    own = list_members(view, row.id, tenants, limit=0)
    return msgspec.structs.replace(
        row,
        members=own.total,
        requests=own.requests,
        tokens=own.tokens,
        cost=own.cost,
        last_hour=0,
        reason="",
        others=0,
        population=0,
    )


def _names(value: str) -> list[str]:
    return msgspec.json.decode(value, type=list[str])
