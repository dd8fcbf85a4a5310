"""A campaign as a graph, for analysis in other tools.

Nodes are the campaign, its members, the identifiers that they share, and bystanders. The weight of
an edge from the campaign to a member is the member's evidence; the edge also has the evidence of
each kind. The weight of an edge from an identifier to a key is the evidence of the identifier. All
weights are in nats.
"""

from __future__ import annotations

from typing import Any

from pipelines.inspect.campaign import CampaignDetail
from pipelines.inspect.campaigns import SHORT


def campaign_graph(detail: CampaignDetail) -> Any:
    """The `networkx.Graph` of a campaign."""
    import networkx as nx

    summary = detail.summary
    found = nx.Graph(id=summary.id)
    found.add_node(
        summary.id,
        kind="campaign",
        label=summary.id[:SHORT],
        state=summary.state,
        severity=summary.severity or "",
        since=summary.since,
        members=summary.members,
        requests=summary.requests,
        tokens=summary.tokens,
        reason=summary.reason,
    )
    nats = {shared.id: shared.nats for shared in detail.shared}
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
            alert=member.own_alert or "",
        )
        found.add_edge(summary.id, member.key, weight=sum(member.nats.values()), **member.nats)
    for bystander in detail.bystanders:
        found.add_node(
            bystander.key, kind="bystander", label=bystander.key, requests=bystander.requests
        )
    shares = {each.key: each.shares for each in detail.members}
    shares |= {each.key: each.shares for each in detail.bystanders}
    found.add_weighted_edges_from(
        (key, shared, nats[shared]) for key, identifiers in shares.items() for shared in identifiers
    )
    return found
