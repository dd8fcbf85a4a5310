"""The groups `xm case` and `xm report`. Their commands are in the modules of this package."""

from __future__ import annotations

from importlib.util import find_spec

import typer

from monitor.errors import ConfigError

_PACKAGES = "cryptography", "jinja2", "networkx", "rfc3161_client", "weasyprint"

commands = typer.Typer()
case = typer.Typer(no_args_is_help=True)
report = typer.Typer(no_args_is_help=True)
commands.add_typer(case, name="case", help="Keep case files: signed records of what was found.")
commands.add_typer(report, name="report", help="Write reports as Markdown, HTML or PDF.")


@case.callback()
def _case() -> None:
    """Keep case files: signed records of what was found and decided."""


@report.callback()
def _report() -> None:
    """Write reports about cases as Markdown, HTML or PDF."""


def require_cases_extra() -> None:
    """Check that the packages for cases and their documents are installed.

    Raises:
        ConfigError: if one is not.
    """
    if not all(map(find_spec, _PACKAGES)):
        raise ConfigError(
            "Cases need the extra `cases`. Install it with "
            "`pip install 'extraction-monitor[cases]'`."
        )
