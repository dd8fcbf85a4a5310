"""The command line: `xm COMMAND`.

An error that an operator can fix is printed as one sentence, with exit status 2. Commands load the
settings before they import anything slow, so that a wrong setting is reported at once.
"""

from __future__ import annotations

import gc
import logging
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from monitor import config
from monitor.errors import MonitorError
from pipelines.cli import alerts, decisions, forward, inspect, live, model, offline, tracing
from pipelines.cli.cases import case, documents, key, reproduce, review, share, verify  # noqa: F401
from pipelines.cli.cases import group as cases
from pipelines.cli.options import stderr

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for group in (alerts, decisions, live, forward, offline, model, inspect, cases, share, tracing):
    app.add_typer(group.commands)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"extraction-monitor {version('extraction-monitor')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Detects model extraction through an LLM API in real time."""


def main() -> None:
    """Run a command."""
    # Most objects are of modules and tables and live on; reference counts free most of the others.
    gc.set_threshold(100_000, 20, 100)
    # aiokafka logs every failed attempt. The final error of the command reports it once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    for sentence in config.unknown_variables():
        stderr.print(sentence, markup=False)
    try:
        app()
    except MonitorError as error:
        stderr.print(str(error), markup=False)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
