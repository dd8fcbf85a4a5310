"""Commands on rejected requests: list them, send them again."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from monitor import config
from pipelines.cli.options import AsJson, Who, Why, output, seconds_of

commands = typer.Typer()
rejected_app = typer.Typer(
    no_args_is_help=True, help="List requests that were rejected, and send them again."
)
commands.add_typer(rejected_app, name="rejected")

Since = Annotated[
    str | None, typer.Option(help="How far back: 90m, 4h, 7d. Default: all.", metavar="TIME")
]


def _time(since: str | None) -> float | None:
    return None if since is None else time.time() - seconds_of(since)


@rejected_app.command("list", epilog="Example: `xm rejected list --since 4h`")
def rejected_list(since: Since = None, as_json: AsJson = False) -> None:
    """List why requests were rejected: reason, field, number, and names and types of one.

    Reads the topic of rejected requests, and one message of each kind from its source. No value of
    a request is shown.
    """
    settings = config.load()
    from pipelines.health.rejected import list_rejected
    from pipelines.show.operate.rejected import show

    output(list_rejected(settings, _time(since)), as_json, show)


@rejected_app.command(
    "replay", epilog="Example: `xm rejected replay --since 4h --why 'mapping mended'`"
)
def rejected_replay(
    why: Why,
    who: Who,
    mapping: Annotated[
        str,
        typer.Option(
            help="Read them with this preset, for workers that read the native format. Default: "
            "the mapping of the workers.",
            metavar="NAME",
        ),
    ] = "",
    reason: Annotated[str, typer.Option(help="Only those with this reason.")] = "",
    since: Since = None,
    again: Annotated[bool, typer.Option("--again", help="Also those that were sent.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be sent.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send rejected requests again that can be read now, as long as Kafka has them.

    First mend the mapping of the workers and restart them. Each request is sent once; the audit has
    who did it. One that comes too late counts at the time that its partition has reached. Exit
    status 1: nothing could be sent.
    """
    settings = config.load()
    from pipelines.health.rejected import replay_rejected
    from pipelines.show.operate.rejected import show_replay

    found = replay_rejected(
        settings,
        who,
        why,
        mapping=mapping,
        reason=reason,
        since=_time(since),
        again=again,
        dry=dry_run,
    )
    output(found, as_json, show_replay)
    if not found.sent:
        raise typer.Exit(1)
