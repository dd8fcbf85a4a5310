"""Draw a dashboard with the real series of a Prometheus, for the documentation.

    python -m dashboards.picture overview --prometheus http://127.0.0.1:9090 --out overview.png

It needs matplotlib (the extra `plot`) and no Grafana. The layout, queries, units and thresholds are
those of the dashboard's JSON.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import textwrap
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.dates import MINUTELY, SECONDLY, AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import FuncFormatter

WIDTH = 24  # columns of Grafana's grid
_COLUMN, _LINE = 0.62, 0.42  # inches of a cell of the grid
_POINTS = 300  # of a series
_LEGENDS = 8  # lines of a legend at most
_INK, _PAPER, _PANEL, _FAINT = "#222", "#f4f5f5", "white", "#888"
_COLORS = {"green": "#1a7f37", "red": "#cf222e", "orange": "#bc4c00"}
_PALETTE = list(mpl.colormaps["tab20"].colors)[::2] + list(mpl.colormaps["tab20"].colors)[1::2]


class Series(NamedTuple):
    """One line: its legend, labels, times (epoch seconds) and values."""

    legend: str
    labels: Mapping[str, str]
    times: list[float]
    values: list[float]


class Source:
    """Asks a Prometheus.

    Args:
        url: of it.
        start, end: of the time that is drawn, epoch seconds.
        variables: of the dashboard.
    """

    def __init__(self, url: str, start: float, end: float, variables: Mapping[str, str]) -> None:
        self._url, self.start, self.end = url, start, end
        self._step = max((end - start) / _POINTS, 1.0)
        every = f"{max(int(4 * self._step), 20)}s"
        self._variables = {"$__rate_interval": every, "$instance": ".*", **variables}

    def resolve(self, text: str) -> str:
        for name, value in self._variables.items():
            text = text.replace(name, value)
        return text

    def series(self, target: Mapping[str, Any]) -> list[Series]:
        """The series of a panel's target over the time that is drawn."""
        query = {"query": self.resolve(target["expr"]), "step": str(self._step)}
        found = self._get("query_range", start=str(self.start), end=str(self.end), **query)
        return [
            Series(
                legend(target["legendFormat"], each["metric"]),
                each["metric"],
                [float(at) for at, _ in each["values"]],
                [float(value) for _, value in each["values"]],
            )
            for each in found
        ]

    def now(self, target: Mapping[str, Any]) -> list[Series]:
        """The values at the end."""
        found = self._get("query", query=self.resolve(target["expr"]), time=str(self.end))
        return [
            Series(
                legend(target["legendFormat"], each["metric"]),
                each["metric"],
                [float(each["value"][0])],
                [float(each["value"][1])],
            )
            for each in found
        ]

    def _get(self, page: str, **query: str) -> list[Any]:
        url = f"{self._url}/api/v1/{page}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as response:
            found: list[Any] = json.load(response)["data"]["result"]
        return found


def legend(form: str, labels: Mapping[str, str]) -> str:
    """Grafana's legend with the labels filled in."""
    for name, value in labels.items():
        form = form.replace(f"{{{{{name}}}}}", value)
    return form


def shown(value: float, unit: str) -> str:
    """A value in a unit of Grafana."""
    if math.isnan(value) or math.isinf(value):
        return "-"
    if unit == "percentunit":
        return f"{100 * value:.3g}%"
    if unit == "s":
        return _duration(value)
    if unit == "bytes":
        return f"{value / 2**20:,.0f} MiB"
    text = f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    return text + {"reqps": " req/s", "ops": " ops/s"}.get(unit, "")


def _duration(seconds: float) -> str:
    if 0 < abs(seconds) < 1:
        return f"{seconds * 1e3:.3g} ms"
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.3g} s"


def draw(dashboard: Mapping[str, Any], source: Source) -> Picture:
    """A picture of all rows and panels of a dashboard."""
    lines = max(place["y"] + place["h"] for place in _places(dashboard)) + 1.2
    picture = Picture(figsize=(WIDTH * _COLUMN, lines * _LINE), facecolor=_PAPER)
    height = lines * _LINE
    picture.text(
        0.008,
        1 - 0.25 / height,
        dashboard["title"],
        size=13,
        weight="bold",
        color=_INK,
        va="center",
    )
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        top = 1 - (place["y"] + 1.2) / lines
        if panel["type"] == "row":
            picture.text(
                0.008, top - 0.5 / lines, panel["title"], size=10, weight="bold", va="center"
            )
            continue
        left, width = place["x"] / WIDTH, place["w"] / WIDTH
        tall = place["h"] / lines
        frame = picture.add_axes(
            (left + 0.003, top - tall + 0.12 / lines, width - 0.006, tall - 0.24 / lines)
        )
        frame.set_facecolor(_PANEL)
        frame.set(xticks=[], yticks=[])
        for spine in frame.spines.values():
            spine.set_color("#ddd")
        picture.text(
            left + 0.008, top - 0.55 / lines, panel["title"], size=8, weight="bold", va="center"
        )
        _DRAW[panel["type"]](picture, panel, source, (left, top - tall, width, tall), lines)
    return picture


Place = tuple[float, float, float, float]  # left, bottom, width and height, of the picture


def _places(dashboard: Mapping[str, Any]) -> list[dict[str, int]]:
    return [panel["gridPos"] for panel in dashboard["panels"]]


def _inner(picture: Picture, place: Place, lines: float, legends: int = 0) -> Axes:
    left, bottom, width, tall = place
    below = (0.95 + 0.42 * legends) / lines
    return picture.add_axes(
        (left + 0.045, bottom + below, width - 0.058, tall - below - 1.15 / lines)
    )


def _draw_graph(
    picture: Picture, panel: Mapping[str, Any], source: Source, place: Place, lines: float
) -> None:
    found = [each for target in panel["targets"] for each in source.series(target)]
    found.sort(key=lambda each: -max(each.values, default=0.0))
    defaults = panel["fieldConfig"]["defaults"]
    columns = 3 if place[2] < 0.5 else 8
    rows = math.ceil(min(len(found), _LEGENDS) / columns)
    axes = _inner(picture, place, lines, rows)
    if defaults["custom"].get("stacking"):
        times = sorted({at for each in found for at in each.times})
        by_time = [dict(zip(each.times, each.values, strict=True)) for each in found]
        values = [[_number(each.get(at, 0.0)) for at in times] for each in by_time]
        if times:
            colors = _PALETTE[: len(found)]
            axes.stackplot(_dates(times), values, colors=colors, alpha=0.6, lw=0.5)
            for each, color in zip(found[:_LEGENDS], colors, strict=False):
                axes.plot([], [], color=color, label=each.legend, lw=3)
    else:
        for each, color in zip(found, _PALETTE * 4, strict=False):
            name = each.legend if each in found[:_LEGENDS] else None
            axes.plot(_dates(each.times), each.values, color=color, lw=1, label=name)
    if (steps := defaults.get("thresholds", {}).get("steps")) and len(steps) > 1:
        axes.axhline(steps[1]["value"], color=_COLORS["red"], lw=0.8, ls="--")
    _finish(axes, source, defaults["unit"], bool(found))
    if rows:
        picture.legend(
            *axes.get_legend_handles_labels(),
            loc="lower left",
            bbox_to_anchor=(place[0] + 0.005, place[1] + 0.1 / lines),
            ncols=columns,
            fontsize=6,
            frameon=False,
            handlelength=1,
            columnspacing=0.8,
            labelspacing=0.15,
            borderpad=0.1,
        )


def _draw_heatmap(
    picture: Picture, panel: Mapping[str, Any], source: Source, place: Place, lines: float
) -> None:
    found = source.series(panel["targets"][0])
    found.sort(key=lambda each: float(each.labels["le"]))
    axes = _inner(picture, place, lines)
    times = sorted({at for each in found for at in each.times})
    if times:
        by_bound = [dict(zip(each.times, each.values, strict=True)) for each in found]
        rows = [[_number(each.get(at, 0.0)) for at in times] for each in by_bound]
        counts = [rows[0]] + [
            [max(b - a, 0.0) for a, b in zip(low, high, strict=True)]
            for low, high in pairwise(rows)
        ]
        style = {"cmap": "Oranges", "shading": "nearest"}
        axes.pcolormesh(_dates(times), range(len(found)), counts, **style)
        names = [each.labels["le"] for each in found]
        axes.set_yticks(range(0, len(found), 2), names[::2])
    _finish(axes, source, "", bool(times), is_categorical=True)


def _finish(
    axes: Axes, source: Source, unit: str, has_data: bool, is_categorical: bool = False
) -> None:
    axes.set_xlim(*_dates([source.start, source.end]))
    locator = AutoDateLocator(minticks=3, maxticks=6)
    locator.intervald[SECONDLY] = [1, 5, 10, 15, 30]
    locator.intervald[MINUTELY] = [1, 2, 5, 10, 15, 30]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.xaxis.get_offset_text().set_visible(False)
    axes.tick_params(labelsize=6, length=2, colors=_FAINT)
    axes.grid(lw=0.3, color="#ddd")
    for spine in axes.spines.values():
        spine.set_visible(False)
    if not is_categorical:
        highest = max((max(line.get_ydata(), default=0) for line in axes.lines), default=0)
        axes.set_ylim(bottom=0, top=None if highest or axes.collections else 1)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, unit)))
    if not has_data:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color=_FAINT, size=7)


def _draw_figure(
    picture: Picture, panel: Mapping[str, Any], source: Source, place: Place, lines: float
) -> None:
    left, bottom, width, tall = place
    defaults = panel["fieldConfig"]["defaults"]
    found = source.now(panel["targets"][0])
    text, color = "no data", _FAINT
    if found:
        value = found[0].values[0]
        words = {
            key: each["text"]
            for mapping in defaults.get("mappings", ())
            for key, each in mapping["options"].items()
        }
        text = words.get(f"{value:g}", shown(value, defaults["unit"]))
        for step in defaults["thresholds"]["steps"]:
            if step["value"] is None or value >= step["value"]:
                color = _COLORS[step["color"]]
    size = 17 if len(text) < 10 else 12
    picture.text(
        left + width / 2,
        bottom + tall * 0.42,
        text,
        size=size,
        color=color,
        ha="center",
        va="center",
    )


def _draw_ranking(
    picture: Picture, panel: Mapping[str, Any], source: Source, place: Place, lines: float
) -> None:
    found = sorted(source.now(panel["targets"][0]), key=lambda each: each.values[0])
    left, bottom, width, tall = place
    axes = picture.add_axes((left + 0.085, bottom + 0.9 / lines, width - 0.115, tall - 2.2 / lines))
    alarm = panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"]
    values = [each.values[0] for each in found]
    colors = [_COLORS["red" if value >= alarm else "green"] for value in values]
    axes.barh([each.legend for each in found], values, color=colors, height=0.6)
    axes.axvline(alarm, color=_COLORS["red"], lw=0.8, ls="--")
    axes.tick_params(labelsize=6, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_table(
    picture: Picture, panel: Mapping[str, Any], source: Source, place: Place, lines: float
) -> None:
    rows: dict[str, dict[str, str]] = {}
    columns = [target["legendFormat"] for target in panel["targets"]]
    ranks: dict[str, float] = {}
    for target in panel["targets"]:
        for each in source.now(target):
            subject = each.labels["subject"]
            ranks.setdefault(subject, each.values[0])
            row = rows.setdefault(subject, {"subject": subject, "type": ""})
            row["type"] = each.labels.get("type", row["type"])
            row[target["legendFormat"]] = shown(each.values[0], "short")
    left, bottom, width, tall = place
    heads, starts = ["subject", "type", *columns], [0.0, 0.46, 0.64, 0.78, 0.9]
    space = int((tall * lines - 1.6) / 0.62)
    ordered = sorted(rows.values(), key=lambda row: -ranks[row["subject"]])[: space - 1]
    for number, row in enumerate([dict(zip(heads, heads, strict=True)), *ordered]):
        y = bottom + tall - (1.6 + 0.62 * number) / lines
        for head, start in zip(heads, starts, strict=False):
            x = left + 0.008 + start * (width - 0.016)
            style = {"weight": "bold", "color": _FAINT} if not number else {"color": _INK}
            picture.text(x, y, row.get(head, ""), size=6, va="center", **style)


def _draw_text(
    picture: Picture, panel: Mapping[str, Any], source: Source, place: Place, lines: float
) -> None:
    left, bottom, width, tall = place
    text = source.resolve(panel["options"]["content"]).replace("**", "").replace("```\n", "")
    columns = int(width * WIDTH * 7.6)
    wrapped = [
        part for line in text.strip().splitlines() for part in textwrap.wrap(line, columns) or [""]
    ]
    picture.text(
        left + 0.008,
        bottom + tall - 1.3 / lines,
        "\n".join(wrapped),
        size=6.2,
        va="top",
        family="DejaVu Sans Mono",
        linespacing=1.5,
    )


_DRAW = {
    "timeseries": _draw_graph,
    "heatmap": _draw_heatmap,
    "stat": _draw_figure,
    "bargauge": _draw_ranking,
    "table": _draw_table,
    "text": _draw_text,
}


def _dates(times: Sequence[float]) -> Any:
    return date2num([_utc(at) for at in times])


def _utc(at: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at, datetime.UTC)


def _number(value: float) -> float:
    return 0.0 if math.isnan(value) or math.isinf(value) else value


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw a dashboard with real series.")
    parser.add_argument("dashboard", help="overview, investigation, quality or health")
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its URL")
    parser.add_argument("--minutes", type=float, default=60.0, help="of time to draw")
    parser.add_argument("--until", type=float, default=None, help="epoch seconds; default: now")
    parser.add_argument("--subject", default="", help="of the investigation")
    parser.add_argument("--out", type=Path, required=True, help="a .png or .svg file")
    chosen = parser.parse_args()
    file = Path(__file__).with_name(f"{chosen.dashboard}.json")
    end = time.time() if chosen.until is None else chosen.until
    start = end - 60 * chosen.minutes
    source = Source(chosen.prometheus, start, end, {"$subject": chosen.subject})
    draw(json.loads(file.read_text()), source).savefig(chosen.out, dpi=110)


if __name__ == "__main__":
    main()
