"""Show what `xm init` has written, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pipelines.setup.choices import NO_GATEWAY, Choices
from pipelines.show.style import default_console


def show_next(chosen: Choices, written: Sequence[Path], console: Console | None = None) -> None:
    """Print the files that were written, and the commands to go on with."""
    console = console or default_console()
    for path in written:
        console.print(Text("  ").append(str(path)), soft_wrap=True)
    compose = chosen.folder / "compose.override.yaml"
    steps = [
        ("Look at it, and start the worker:", [
            f"export XM_CONFIG={chosen.settings_file}",
            "xm topics create",
            "xm worker",
        ]),
        ("Or the whole stack in containers:", [
            f"export XM_IDENTITY_SECRET=$(cat {chosen.identity_file})",
            f"docker compose -f deploy/compose.yaml -f {compose} up --build",
        ]),
        ("Let Prometheus scrape it and evaluate its rules (a new one; or copy the job and the "
         "rules into yours):", [
            f"prometheus --config.file={chosen.folder}/prometheus/prometheus.yml",
        ]),
        ("See whether all is well:", ["xm doctor", "xm status"]),
    ]  # fmt: skip
    if chosen.gateway != NO_GATEWAY:
        steps.insert(1, (
            "Put the gateway in front of your API (its README: deploy/gateways/"
            f"{chosen.gateway}), and answer it:",
            [f"ls {chosen.folder / chosen.gateway}", "xm serve"],
        ))  # fmt: skip
    if chosen.console_user:
        steps.insert(-1, (
            "Open the console at http://127.0.0.1:6069, in containers with `--profile console`:",
            ["xm console", f"export XM_CONSOLE_USERS={chosen.users_file}"],
        ))  # fmt: skip
    for what, commands in steps:
        console.print(Text(f"\n{what}", "bold"), soft_wrap=True)
        for command in commands:
            console.print(Text(f"  {command}"), soft_wrap=True)
    console.print()
