"""The command that brings requests from logs to Kafka."""

from __future__ import annotations

from typing import Annotated

import typer

from monitor import config

commands = typer.Typer()


@commands.command(epilog="Example: `XM_MAPPING=nginx xm forward /var/log/nginx/llm.json`")
def forward(
    files: Annotated[
        list[str], typer.Argument(help="JSON log files, folders or quoted patterns to follow.")
    ],
) -> None:
    """Follow logs, and send their requests to Kafka. Nothing is lost while Kafka is away.

    Give each process its own XM_FORWARD__SPOOL, a folder that survives restarts.
    """
    settings = config.load()
    from pipelines.forward.run import run_forward

    run_forward(settings, files)
