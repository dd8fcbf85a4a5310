"""The command on compiled kernels: `xm kernels`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import AsJson, output

commands = typer.Typer()


@commands.command(epilog="Example: `xm kernels --compile`")
def kernels(
    compile_now: Annotated[
        bool, typer.Option("--compile", help="Compile them into the installed package.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show whether the compiled kernels of this installation are used.

    They are compiled when the package is built. If they are of other sources, of another version
    of numba, or for another processor, each user compiles them at the first start instead, which
    takes a minute. Exit status 1: they are not used.
    """
    from pipelines.kernels import compile_kernels, find_kernels
    from pipelines.show.operate.kernels import show

    if compile_now:
        compile_kernels()
    found = find_kernels()
    output(found, as_json, show)
    if not found.used:
        raise typer.Exit(1)
