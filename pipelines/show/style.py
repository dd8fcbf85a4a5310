"""Shared style: table widths, severity colours, counts in words, and the plots' look."""

from __future__ import annotations

from rich.console import Console

STYLES: dict[str, str] = {"info": "cyan", "warning": "yellow", "critical": "red"}


_WIDTH = 140  # columns of output that goes into a file or a pipe


def default_console() -> Console:
    """The terminal, or a console wide enough for tables in a file or a pipe."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH)


def count(number: int, noun: str) -> str:
    """So many of something."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


INK, FAINT = "#1f2933", "#d9dee3"


STYLE = {
    "font.family": "sans-serif",
    "font.size": 10.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.titlelocation": "left",
    "axes.titlesize": 12.0,
    "axes.titleweight": "bold",
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "extraction-monitor",  # the same picture, the same bytes
}
