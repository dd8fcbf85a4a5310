"""Shared presentation: colours, tables, block charts, values in words, and the style of plots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.util import find_spec

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from monitor.errors import ConfigError

SEVERITY_STYLES: dict[str, str] = {"info": "cyan", "warning": "yellow", "critical": "red"}
BLOCKS = " ▁▂▃▄▅▆▇█"
_PIPE_WIDTH = 140  # columns of output that goes into a file or a pipe


def default_console() -> Console:
    """The terminal, or a console wide enough for tables in a file or a pipe."""
    console = Console()
    return console if console.is_terminal else Console(width=_PIPE_WIDTH)


def table(title: str | None = None) -> Table:
    """An empty table in the house style."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        header_style="dim",
        show_edge=False,
    )


def add_columns(to: Table, *names: str, numbers: bool = False) -> None:
    """Add columns that never wrap; columns of numbers are aligned right."""
    for name in names:
        to.add_column(name, justify="right" if numbers else "left", no_wrap=True)


# Charts


def axis_width(highest: int) -> int:
    """Columns that the vertical axis of `block_chart` takes."""
    return max(len(f"{highest:,}"), 3) + 3


def block_chart(values: Sequence[int], rows: int, *, highest: int, bar: int = 1) -> Text:
    """A bar chart of block characters.

    Args:
        rows: height in lines.
        highest: value at the top of the axis.
        bar: columns per value. The last of several is a gap.
    """
    text, width = Text(), axis_width(highest)
    for row in range(rows, 0, -1):
        label = f"{highest:,}" if row == rows else ""
        text.append(f"{label:>{width - 2}} {'┤' if row in (1, rows) else '│'}", "dim")
        for value in values:
            eighths = math.ceil(value / max(highest, 1) * rows * 8) - (row - 1) * 8
            text.append(BLOCKS[min(max(eighths, 0), 8)] * max(bar - 1, 1), "blue")
            text.append(" " * (bar > 1))
        text.append("\n")
    return text


# Values in words


def date_time(ts: float) -> str:
    """Epoch seconds as day, month and time in UTC."""
    return f"{datetime.fromtimestamp(ts, UTC):%d %b %H:%M}"


def count(number: int, noun: str) -> str:
    """A number and its noun, in the plural unless it is 1."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def number(value: float) -> str:
    """A value to about three digits."""
    if value and abs(value) < 1e-3:
        return f"{value:.0e}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def short(value: float) -> str:
    """A count in at most six characters: 9,999, 12.3k, 4.56M."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * unit and value >= 9_999.5:
            return f"{value / unit:.3g}{name}"
    return f"{value:,.0f}"


# Plots


def require_plot_extra() -> None:
    """Check that the packages for plots and graphs are installed.

    Raises:
        ConfigError: if one is not.
    """
    if not all(map(find_spec, ("matplotlib", "networkx"))):
        raise ConfigError(
            "Plots and graphs need the extra `plot`. Install it with "
            "`pip install 'extraction-monitor[plot]'`."
        )


INK, FAINT = "#1f2933", "#d9dee3"
PLOT_STYLE = {
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
    "svg.hashsalt": "extraction-monitor",  # the same input gives the same bytes
}
