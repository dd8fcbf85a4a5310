"""The command `xm console`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from monitor import config
from monitor.errors import ConfigError
from pipelines.cli.options import AsJson, done, stderr

NO_CONSOLE = "`xm console` needs the extra console: pip install 'extraction-monitor[console]'."

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
        raise ConfigError(NO_CONSOLE) from error
    run_console(settings)


class Roles(StrEnum):
    """What a person may do."""

    viewer = "viewer"
    analyst = "analyst"
    admin = "admin"


@console_app.command(epilog="Example: `xm console user alice@example.com --role analyst >>users`")
def user(
    name: Annotated[
        str, typer.Argument(help="As the proxy names the person, if there is one; for the audit.")
    ],
    role: Annotated[
        Roles,
        typer.Option(
            help="`viewer` reads, `analyst` also decides, `admin` also sets switches and caps."
        ),
    ] = Roles.viewer,
    tenant: Annotated[
        list[str] | None,
        typer.Option(
            help="Show this tenant only: a prefix of accounts from XM_TENANTS. Repeat it for "
            "more; default: all.",
            metavar="PREFIX",
        ),
    ] = None,
    proxy: Annotated[
        bool, typer.Option("--proxy", help="Make no token: the person signs on by the proxy.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a user of the console, with a token.

    Prints the line for XM_CONSOLE__USERS_FILE, and the token itself on standard error.
    """
    try:
        from pipelines.console.access.users import new_user
    except ImportError as error:
        raise ConfigError(NO_CONSOLE) from error
    made, line = new_user(name, role.value, tuple(tenant or ()), token=not proxy)
    if as_json:
        done({"token": made, "line": line}, as_json, "")
        return
    if made:
        stderr.print(made, markup=False)
    typer.echo(line)
