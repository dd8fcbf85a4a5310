"""The command that brings requests from logs to Kafka."""

from __future__ import annotations

from typing import Annotated

import typer

from monitor import config
from monitor.errors import InputError

commands = typer.Typer()


@commands.command(epilog="Example: `XM_MAPPING=nginx xm forward /var/log/nginx/llm.json`")
def forward(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            help="JSON log files, folders or quoted patterns to follow; URLs of objects, such as "
            "s3://bucket/folder."
        ),
    ] = None,
    receive: Annotated[
        bool, typer.Option("--receive", help="Take OTLP exports and uploads by HTTP.")
    ] = False,
) -> None:
    """Send requests from logs to Kafka. Nothing is lost while Kafka is away.

    Give each process its own XM_FORWARD__SPOOL, a folder that survives restarts.
    """
    if not (sources or receive):
        raise InputError("Name log files or objects to forward, or use --receive.")
    settings = config.load()
    from pipelines.forward.run import run_forward

    run_forward(settings, sources or [], receive=receive)
