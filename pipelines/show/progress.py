"""A progress bar on the terminal's standard error, for commands that read files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich import progress
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from pipelines.traffic.files import LineFile, Progress


@contextmanager
def bar(what: str) -> Iterator[Progress]:
    """Yield a function that shows the progress of reading files. On a terminal only."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[lines]:,} lines"),
        TimeRemainingColumn(),
    )
    with progress.Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        tasks: dict[str, TaskID] = {}

        def report(file: LineFile) -> None:
            if file.name not in tasks:
                tasks[file.name] = shown.add_task(f"{what} {file.name}", lines=0)
            shown.update(
                tasks[file.name], completed=file.position, total=file.size, lines=file.lines
            )

        yield report
