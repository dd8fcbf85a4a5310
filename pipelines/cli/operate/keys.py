"""Commands on keys: list them, erase one."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from monitor import config
from pipelines.cli import complete
from pipelines.cli.options import (
    AsJson,
    Who,
    Why,
    check_pseudonym,
    note_differences,
    output,
    seconds_of,
)

commands = typer.Typer()
keys_app = typer.Typer()
commands.add_typer(keys_app, name="keys")


@keys_app.callback(invoke_without_command=True, epilog="Example: `xm keys --top 20 --memory`")
def keys(
    context: typer.Context,
    top: Annotated[int, typer.Option(help="Number of keys to list.", min=0)] = 20,
    by: Annotated[
        str,
        typer.Option(
            help="Sort by remarkable, requests, tokens, hour, last-seen, or a detector's name."
        ),
    ] = "remarkable",
    memory: Annotated[
        bool, typer.Option("--memory", help="Also show Redis memory per key.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List keys in Redis, the most remarkable first. Reads page by page and does not block Redis.

    The most remarkable have the severest open alert, then the least ordinary record.
    """
    if context.invoked_subcommand is not None:
        return
    settings = config.load()
    import msgspec

    from monitor.store import inventory
    from monitor.store.redis import RedisStore
    from pipelines.inspect.decisions import reader
    from pipelines.inspect.keys import list_keys, measure_memory, ranking_by
    from pipelines.show.keys import show

    ranking = ranking_by(by, settings)
    store = RedisStore(settings.redis_url, settings.record_seconds)
    listed = list_keys(inventory.pages(store.server), ranking, top, reader(store, settings))
    if memory:
        listed = msgspec.structs.replace(listed, memory=measure_memory(store.server, listed.keys))
    output(listed, as_json, partial(show, by=by))
    if ranking.probability is not None:
        note_differences(settings)


@keys_app.command(
    "forget", epilog="Example: `xm keys forget k_30263b9df560394b856f332d --why 'GDPR request 41'`"
)
def forget(
    subject: Annotated[
        str,
        typer.Argument(
            help="Pseudonym of a key, account or end user.", autocompletion=complete.keys
        ),
    ],
    why: Why,
    who: Who,
    wait: Annotated[
        str, typer.Option(help="How long to wait for the workers: 30s, 2m.", metavar="TIME")
    ] = "30s",
    as_json: AsJson = False,
) -> None:
    """Erase what is stored about a key, an account or an end user. Says what stays.

    In Redis: record, fingerprint, decisions, alerts, silences, sketches. Workers forget it in their
    memory; one that starts within 7 days does so then. Exit status 1: some have not done so yet.
    """
    check_pseudonym(subject, "The argument", "`xm explain --raw` shows the pseudonym of a key")
    settings = config.load()
    from pipelines.health.erasure import erase
    from pipelines.show.operate.erasure import show

    found = erase(settings, subject, who, why, seconds_of(wait))
    output(found, as_json, show)
    if found.waiting:
        raise typer.Exit(1)
