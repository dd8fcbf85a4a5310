"""A progress bar on the terminal's standard error, for commands that read files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from pipelines.files import LineFile

Report = Callable[[object, LineFile], None]


@contextmanager
def of_file(what: str) -> Iterator[Report]:
    """Yields a function to call with how far reading has come; shown on a terminal only."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[lines]:,} lines"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        tasks: dict[str, TaskID] = {}

        def report(_done: object, file: LineFile) -> None:
            if file.name not in tasks:
                tasks[file.name] = progress.add_task(f"{what} {file.name}", lines=0)
            progress.update(
                tasks[file.name], completed=file.position, total=file.size, lines=file.lines
            )

        yield report
