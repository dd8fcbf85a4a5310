"""Commands on the running system: status, version."""

from __future__ import annotations

import typer

from monitor import config
from pipelines.cli.options import AsJson, output

commands = typer.Typer()


@commands.command(epilog="Example: `xm status`")
def status(as_json: AsJson = False) -> None:
    """Show whether the monitor works: its processes, mode, lag, receivers, and what is open.

    Reads the state of the running system from Redis. Exit status 0: all is well. 1: something is
    wrong. 2: the state cannot be read.
    """
    settings = config.load()
    from pipelines.health.status import read_status
    from pipelines.show.operate.status import show

    found = read_status(settings)
    output(found, as_json, show)
    if found.state != "ok":
        raise typer.Exit(1)
