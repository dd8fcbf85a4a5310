"""The command `xm console`."""

from __future__ import annotations

import typer

from monitor import config
from monitor.errors import ConfigError

commands = typer.Typer()
console_app = typer.Typer()
commands.add_typer(console_app, name="console")


@console_app.callback(invoke_without_command=True, epilog="Example: `xm console`")
def console(context: typer.Context) -> None:
    """Serve web pages: who extracts the model and why, and what to do about it.

    Needs Redis and Kafka. Needs the extra `console`.
    """
    if context.invoked_subcommand is not None:
        return
    settings = config.load()
    try:
        from pipelines.console.process import run_console
    except ImportError as error:
        raise ConfigError(
            "`xm console` needs the extra console: pip install 'extraction-monitor[console]'."
        ) from error
    run_console(settings)
