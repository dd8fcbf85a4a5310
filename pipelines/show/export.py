"""Export a campaign as GraphML and as a picture."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from monitor.errors import InputError
from monitor.linker import LinkPartition
from pipelines.inspect.campaign import CampaignDetail, campaign_detail
from pipelines.inspect.graph import campaign_graph


def write_graph(detail: CampaignDetail, out: Path, picture: Path | None = None) -> None:
    """Write GraphML, and a picture in the format of its file name.

    Raises:
        InputError: if a file cannot be written, or the format is unknown.
    """
    import networkx as nx

    from pipelines.show import campaign_plot

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        nx.write_graphml(campaign_graph(detail), out)
        if picture is not None:
            campaign_plot.draw(detail, picture)
    except OSError as error:
        raise InputError(
            f"{error.filename} cannot be written ({error.strerror}): name another file."
        ) from error
    except ValueError as error:  # unknown format
        raise InputError(f"{picture} cannot be drawn: name a file in .png or .svg.") from error


def write_graphs(partitions: Iterable[LinkPartition], folder: Path) -> None:
    """Write every campaign, ended ones too, as a graph and a picture into a folder."""
    for partition in partitions:
        for campaign in partition.rounds.campaigns:
            if campaign.named:
                out = folder / f"{campaign.id}.graphml"
                write_graph(campaign_detail(partition, campaign), out, out.with_suffix(".png"))
