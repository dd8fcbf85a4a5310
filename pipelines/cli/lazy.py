"""Commands that are imported when they run, so that `xm --help` and completion start quickly."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Entry(NamedTuple):
    """A command as `xm --help` lists it.

    Attributes:
        module: of `pipelines.cli`; its Typer `commands` has the command.
        help: the first paragraph of the command's own help.
    """

    name: str
    module: str
    help: str


class LazyGroup(TyperGroup):
    """A group whose commands are known by name and help. Only the one that runs is imported.

    Attributes:
        panels: commands by the heading under which the help lists them.
    """

    panels: dict[str, tuple[Entry, ...]]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._modules: dict[str, str] = {}
        for panel, entries in self.panels.items():
            for name, module, help_text in entries:
                self._modules[name] = module
                self.add_command(TyperCommand(name, help=help_text, rich_help_panel=panel))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command that the arguments name."""
        if args[0] in self._modules:
            self.load(args[0])
        return super().resolve_command(ctx, args)

    def load(self, *names: str) -> None:
        """Import commands, and those that share their modules. Without names: all."""
        for module in {self._modules[name] for name in names or self._modules}:
            made = import_module(f"pipelines.cli.{module}").commands
            made.rich_markup_mode = "markdown"
            self.commands.update(typer.main.get_group(made).commands)
