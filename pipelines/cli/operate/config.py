"""Commands on the settings: check, show, explain, docs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from monitor.errors import InputError

commands = typer.Typer()
config_app = typer.Typer(no_args_is_help=True, help="Check the settings, and see what they are.")
commands.add_typer(config_app, name="config")


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
