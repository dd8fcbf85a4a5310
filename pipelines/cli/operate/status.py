"""Commands on the running system: status, doctor; and the version."""

from __future__ import annotations

from typing import Annotated

import typer

from monitor import config
from pipelines.cli.options import AsJson, done, output

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


@commands.command(epilog="Example: `xm doctor --prometheus http://prometheus:9090`")
def doctor(
    prometheus: Annotated[
        str | None,
        typer.Option(help="Check the rules and the metrics of this Prometheus.", metavar="URL"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check Kafka, Redis, the workers and the receivers, each with a remedy.

    Sends no alert. In Redis it writes keys of its own that it deletes. Exit status 0: nothing
    failed. 1: something failed. 2: the settings cannot be used.
    """
    settings = config.load()
    from pipelines.health.doctor import diagnose
    from pipelines.show.operate.doctor import show

    checks = list(diagnose(settings, prometheus))
    output(checks, as_json, show)
    if any(each.state == "failed" for each in checks):
        raise typer.Exit(1)


@commands.command(epilog="Example: `xm version --json`")
def version(as_json: AsJson = False) -> None:
    """Show the version of this installation, and of what it runs on."""
    from pipelines.web.version import versions

    found = versions()
    lines = (f"{name:20} {value}" for name, value in found.items())
    done({**found}, as_json, "\n".join(lines))
