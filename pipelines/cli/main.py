"""The command line: `xm COMMAND`.

An error that an operator can fix is printed as one sentence; the exit status is then 2.
"""

from __future__ import annotations

import logging
import sys

import typer

from monitor.errors import MonitorError
from pipelines.cli import inspect, live, model, offline
from pipelines.cli.options import errors

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Detects model extraction through an LLM API in real time.",
)
for room in (live, offline, model, inspect):
    app.add_typer(room.commands)


def main() -> None:
    """Run a command."""
    # aiokafka logs every failed attempt. The error that ends the command says it once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        app()
    except MonitorError as error:
        errors.print(str(error), markup=False)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
