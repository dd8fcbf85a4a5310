"""Read-only commands: inspect a log; explain, campaigns and public on the workers' data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor import config
from monitor.errors import ConfigError, InputError
from pipelines.cli import complete
from pipelines.cli.options import (
    AsJson,
    RequestFile,
    check_pseudonym,
    done,
    note_differences,
    output,
    typed,
)

if TYPE_CHECKING:
    from monitor.config import Settings
    from monitor.store.redis import RedisStore

commands = typer.Typer()
campaigns_app = typer.Typer()
commands.add_typer(campaigns_app, name="campaigns")

CampaignId = Annotated[
    str,
    typer.Argument(help="Campaign id or unique prefix.", autocompletion=complete.campaign_ids),
]


@commands.command("inspect", epilog="Example: `xm inspect gateway.log.zst --prompts`")
def inspect_file(
    file: RequestFile,
    prompts: Annotated[
        bool, typer.Option("--prompts", help="Show the first characters of prompts.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take a first look at a log: its format, how requests are read, what is missing.

    Guesses the mapping unless one is configured. Needs no server. Exit status 0: at least half of
    the records are read. 1: fewer or none. 2: the file cannot be opened.
    """
    settings = config.load()
    from pipelines.inspect.recording import inspect_recording
    from pipelines.show.recording import show

    seen = inspect_recording(file, settings.mapping, prompts=prompts)
    output(seen, as_json, show)
    if not seen.mostly_read:
        raise typer.Exit(1)


def _store(settings: Settings) -> RedisStore:
    from monitor.store.redis import RedisStore

    return RedisStore(settings.redis_url, settings.record_seconds)


@commands.command(epilog="Example: `xm explain k_e1d20bc60b4589d33ce25944`")
def explain(
    key: Annotated[
        str | None,
        typer.Argument(help="The key's pseudonym, as in alerts.", autocompletion=complete.keys),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Read the API key itself from a prompt or a pipe.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show a key's verdict, decision and evidence, and what would change its severity."""
    if (key is None) != raw:
        raise ConfigError(
            "Give a key's pseudonym (k_…, as in alerts), or --raw to enter the API key instead."
        )
    if key is not None:
        check_pseudonym(key, "The argument", "Enter an API key with `xm explain --raw`")
    settings = config.load()
    from pipelines.inspect.subjects.names import pseudonym_of
    from pipelines.inspect.subjects.stored import explain_stored
    from pipelines.show.key import show

    store = _store(settings)
    name = pseudonym_of("key", typed("API key"), store, settings) if key is None else key
    found = explain_stored(store, name, settings)
    if found is None:
        wrong = (
            "XM_IDENTITY_SECRET differs from the workers'"
            if raw
            else "the pseudonym is another one: enter the API key with --raw"
        )
        raise InputError(
            f"Redis at {store.server} has no record of {name}. Either the key has sent nothing for "
            f"longer than workers keep records (XM_RECORD_DAYS), or {wrong}."
        )
    output(found, as_json, show)
    note_differences(settings)


@campaigns_app.callback(invoke_without_command=True, epilog="Example: `xm campaigns --all`")
def campaigns(
    context: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="Include ended campaigns and other groups.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List campaigns (coordinated keys), the most severe first, with the reason."""
    if context.invoked_subcommand is not None:
        return
    settings = config.load()
    from pipelines.inspect.campaigns import list_campaigns, load_partitions
    from pipelines.show.campaigns import show

    output(list_campaigns(load_partitions(settings), everything=everything), as_json, show)


@campaigns_app.command("show", epilog="Example: `xm campaigns show c_75b8`")
def campaigns_show(campaign: CampaignId, as_json: AsJson = False) -> None:
    """Show one campaign: the reason, its growth, its members and what they share."""
    settings = config.load()
    from pipelines.inspect.campaign import campaign_detail
    from pipelines.inspect.campaigns import find_campaign, load_partitions
    from pipelines.show.campaign import show

    output(campaign_detail(*find_campaign(load_partitions(settings), campaign)), as_json, show)


@campaigns_app.command(
    "export", epilog="Example: `xm campaigns export c_75b8 --out fleet.graphml --picture fleet.png`"
)
def campaigns_export(
    campaign: CampaignId,
    out: Annotated[Path, typer.Option(help="Write the graph here, as GraphML.")],
    picture: Annotated[Path | None, typer.Option(help="Draw it here, as .png or .svg.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a campaign as a graph of keys and the identifiers they share.

    Edges carry the evidence in nats. Needs the extra `plot`.
    """
    settings = config.load()
    from pipelines.inspect.campaign import campaign_detail
    from pipelines.inspect.campaigns import find_campaign, load_partitions
    from pipelines.show.export import write_graph
    from pipelines.show.style import require_plot_extra

    require_plot_extra()
    detail = campaign_detail(*find_campaign(load_partitions(settings), campaign))
    write_graph(detail, out, picture)
    files = [str(file) for file in (out, picture) if file is not None]
    if as_json:
        done({"campaign": detail.summary.id, "files": files}, as_json, "")


@commands.command(epilog="Example: `xm public`")
def public(as_json: AsJson = False) -> None:
    """Show the baseline that workers have learned from all keys, and its uncertainty."""
    settings = config.load()
    from pipelines.inspect.baseline import baseline_report
    from pipelines.show.calibration import show_baseline

    output(baseline_report(_store(settings), settings), as_json, show_baseline)
