"""A campaign as a graph, for those who go on looking in a tool of their own.

Nodes are the campaign, its members, the identifiers that they share, and bystanders. An edge from
the campaign to a member weighs all that speaks for it, with each kind of evidence beside it; one
from an identifier to who has it weighs what it says to have it. All weights are in nats.
"""

from __future__ import annotations

from typing import Any

from pipelines.inspect.campaign import CampaignDetail
from pipelines.inspect.campaigns import SHORT


def graph(detail: CampaignDetail) -> Any:
    """The `networkx.Graph` of a campaign."""
    import networkx as nx

    line = detail.line
    found = nx.Graph(id=line.id)
    found.add_node(
        line.id,
        kind="campaign",
        label=line.id[:SHORT],
        state=line.state,
        severity=line.severity or "",
        since=line.since,
        members=line.members,
        requests=line.requests,
        tokens=line.tokens,
        reason=line.reason,
    )
    worth = {shared.id: shared.nats for shared in detail.shared}
    for shared in detail.shared:
        found.add_node(
            shared.id,
            kind=shared.kind,
            label=shared.id,
            members=shared.members,
            others=shared.others,
            nats=shared.nats,
        )
    for member in detail.members:
        found.add_node(
            member.key,
            kind="member",
            label=member.key,
            confidence=member.confidence,
            requests=member.requests,
            tokens=member.tokens,
            first_seen=member.first_seen,
            last_seen=member.last_seen,
            named=member.named,
            alert=member.accused or "",
        )
        found.add_edge(line.id, member.key, weight=sum(member.nats.values()), **member.nats)
    for bystander in detail.bystanders:
        found.add_node(
            bystander.key, kind="bystander", label=bystander.key, requests=bystander.requests
        )
    shares = {each.key: each.shares for each in detail.members}
    shares |= {each.key: each.shares for each in detail.bystanders}
    found.add_weighted_edges_from(
        (key, shared, worth[shared]) for key, some in shares.items() for shared in some
    )
    return found
