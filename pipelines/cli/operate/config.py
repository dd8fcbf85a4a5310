"""Commands on the settings: check, show, explain, docs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.errors import ConfigError, InputError
from pipelines.cli.operate.console import NO_CONSOLE
from pipelines.cli.options import AsJson, output

if TYPE_CHECKING:
    from monitor.config import Settings
    from monitor.config.sources import Value

commands = typer.Typer()
config_app = typer.Typer(no_args_is_help=True, help="Check the settings, and see what they are.")
commands.add_typer(config_app, name="config")


def _names(incomplete: str) -> list[str]:
    """Settings whose name begins so, for completion."""
    from monitor.config.catalogue import settings

    return [each.name for each in settings() if each.name.startswith(incomplete)]


def sign_on_of(settings: Settings) -> None:
    """Load how people sign on to the console, if they do.

    Raises:
        ConfigError: if the users or the addresses of the proxy cannot be used.
    """
    chosen = settings.console
    if chosen.users_file is None and not chosen.proxy_addresses:
        return
    try:
        from pipelines.console.access.proxy import Proxy
        from pipelines.console.access.users import Users
    except ImportError as error:
        raise ConfigError(NO_CONSOLE) from error
    Users(chosen.users_file)
    Proxy(chosen)


@config_app.command("check", epilog="Example: `XM_CONFIG=new.toml xm config check`")
def config_check(as_json: AsJson = False) -> None:
    """Check all settings, in the file and in the environment, and the files that they name.

    A name that is no setting is an error, also in the environment. No server is asked: `xm doctor`
    does. Exit status 0: no errors. 1: errors.
    """
    from pipelines.health.settings import check_settings
    from pipelines.show.operate.config import show_report

    report = check_settings(sign_on_of)
    output(report, as_json, show_report)
    if report.errors:
        raise typer.Exit(1)


@config_app.command("show", epilog="Example: `xm config show --all`")
def config_show(
    everything: Annotated[bool, typer.Option("--all", help="Include defaults.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show settings that are set, with the variable or the line of the file that sets each.

    They are those of this shell. `xm status` shows those of the running system. Secrets are hidden,
    also in URLs.
    """
    from monitor import config
    from monitor.config.sources import values
    from pipelines.show.operate.config import show_values

    found = values(config.load())
    chosen = [each for each in found if everything or each.source != "default"]
    if as_json:
        typer.echo(json.dumps([_fields(each) for each in chosen]))
    else:
        show_values(chosen)


@config_app.command("explain", epilog="Example: `xm config explain decisions.shadow`")
def config_explain(
    setting: Annotated[
        str,
        typer.Argument(
            help="A setting: decisions.shadow, XM_DECISIONS__SHADOW or shadow.",
            autocompletion=_names,
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Show what a setting means, its default, its value, and what sets it."""
    from monitor import config
    from monitor.config.sources import find, values
    from pipelines.show.operate.config import show_setting

    found = find(values(config.load()), setting)
    if as_json:
        typer.echo(json.dumps(_fields(found)))
    else:
        show_setting(found)


def _fields(value: Value) -> dict[str, object]:
    """A value for JSON."""
    setting = value.setting
    return {
        "name": setting.name,
        "variable": setting.variable,
        "value": value.text,
        "source": value.source,
        "place": value.place,
        "default": setting.default,
        "description": setting.text,
        "deprecated": setting.deprecated,
    }


@config_app.command("docs", epilog="Example: `xm config docs deploy/docs/configuration.md`")
def config_docs(
    page: Annotated[Path, typer.Argument(help="A Markdown page with tables of settings.")],
) -> None:
    """Bring the tables of settings in a page up to date, after settings have changed."""
    from pipelines.setup.reference import write

    try:
        text = page.read_text(encoding="utf-8")
        page.write_text(write(text), encoding="utf-8")
    except OSError as error:
        raise InputError(f"Cannot rewrite {page} ({error.strerror}): name another page.") from error
