"""Show whether compiled kernels are used."""

from __future__ import annotations

from rich.console import Console

from pipelines.kernels import Kernels
from pipelines.show.style import count, default_console


def show(kernels: Kernels, console: Console | None = None) -> None:
    """Print what is used, or why not and the remedy."""
    console = console or default_console()
    if kernels.used:
        used = (
            f"{count(kernels.files, 'compiled kernel')} for {kernels.target}, in {kernels.folder}"
        )
        console.print(f"The package has {used}", soft_wrap=True, markup=False)
        return
    why = "are of other sources or versions" if kernels.others else "were not compiled with it"
    console.print(
        f"The package's kernels {why}: they are compiled at the first start, for {kernels.target}, "
        f"into {kernels.cache}. Compile them into the package with `xm kernels --compile`.",
        soft_wrap=True,
        markup=False,
    )
