"""A campaign as a graph, for those who go on looking in a tool of their own.

Nodes are the campaign, its members, the identifiers that they share, and bystanders. An edge from
the campaign to a member weighs all that speaks for it, with each kind of evidence beside it; one
from an identifier to who has it weighs what it says to have it. All weights are in nats.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from monitor.config import Settings
from monitor.errors import ConfigError, InputError
from monitor.linker import Shard
from pipelines.campaigns import SHORT, find, read
from pipelines.dossier import Dossier, compile_dossier


def require() -> None:
    """Raises `ConfigError` unless there is what makes graphs and draws."""
    if not all(map(find_spec, ("networkx", "matplotlib"))):
        raise ConfigError(
            "Graphs need the extra `plot`: install it with "
            "`pip install 'extraction-monitor[plot]'`."
        )


def run(settings: Settings, name: str, *, out: Path, picture: Path | None) -> Dossier:
    """Write the campaign in Redis whose id begins so as a graph, and as a picture."""
    require()
    dossier = compile_dossier(*find(read(settings), name))
    write(dossier, out, picture)
    return dossier


def write(dossier: Dossier, out: Path, picture: Path | None = None) -> None:
    """Write GraphML, and a picture whose kind the name's end says.

    Raises:
        InputError: if that cannot be.
    """
    import networkx as nx

    from pipelines import graph_drawn

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        nx.write_graphml(graph(dossier), out)
        if picture is not None:
            graph_drawn.draw(dossier, picture)
    except OSError as error:
        raise InputError(
            f"{error.filename} cannot be written ({error.strerror}): name another file."
        ) from error
    except ValueError as error:  # a kind of picture that nobody knows
        raise InputError(f"{picture} cannot be drawn: name a file in .png or .svg.") from error


def write_all(shards: Iterable[Shard], folder: Path) -> None:
    """Write every campaign, those that are over, too, as a graph and a picture into a folder."""
    for shard in shards:
        for campaign in shard.rounds.campaigns:
            if campaign.named:
                out = folder / f"{campaign.id}.graphml"
                write(compile_dossier(shard, campaign), out, out.with_suffix(".png"))


def graph(dossier: Dossier) -> Any:
    """The `networkx.Graph` of a campaign."""
    import networkx as nx

    line = dossier.line
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
    worth = {shared.id: shared.nats for shared in dossier.shared}
    for shared in dossier.shared:
        found.add_node(
            shared.id,
            kind=shared.kind,
            label=shared.id,
            members=shared.members,
            others=shared.others,
            nats=shared.nats,
        )
    for member in dossier.members:
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
    for bystander in dossier.bystanders:
        found.add_node(
            bystander.key, kind="bystander", label=bystander.key, requests=bystander.requests
        )
    shares = {each.key: each.shares for each in dossier.members}
    shares |= {each.key: each.shares for each in dossier.bystanders}
    found.add_weighted_edges_from(
        (key, shared, worth[shared]) for key, some in shares.items() for shared in some
    )
    return found
