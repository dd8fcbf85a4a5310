"""Panels in Grafana's JSON model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Any, ClassVar

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
INVESTIGATION = "/d/xm-investigation/?var-subject="

Links = Mapping[str, str]  # titles and addresses


@dataclass(frozen=True)
class Graph:
    """Time series: PromQL expressions by legend.

    Attributes:
        title, about: what the panel shows, and what it means.
        unit: of Grafana, such as `s` or `reqps`.
        queries: PromQL by legend.
        stacked: whether the series add up.
        alarm: value of a red line.
        links: from the panel.
    """

    title: str
    about: str
    unit: str
    queries: dict[str, str]
    stacked: bool = False
    alarm: float | None = None
    links: Links = field(default_factory=dict)
    size: tuple[int, int] = (8, 7)

    def model(self) -> dict[str, Any]:
        lines: dict[str, Any] = {"fillOpacity": 10, "lineWidth": 1, "showPoints": "never"}
        if self.stacked:
            lines |= {"fillOpacity": 40, "stacking": {"mode": "normal", "group": "A"}}
        defaults: dict[str, Any] = {"unit": self.unit, "min": 0, "custom": lines}
        if self.alarm is not None:
            lines["thresholdsStyle"] = {"mode": "dashed"}
            defaults["thresholds"] = _steps(self.alarm)
        return {
            "type": "timeseries",
            **_common(self.title, self.about, self.queries, self.links),
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "options": {
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "tooltip": {"mode": "multi", "sort": "desc"},
            },
        }


@dataclass(frozen=True)
class Figure:
    """A single number, red at `alarm` and above.

    Attributes:
        words: texts for values.
        good: the value that is green while all others are orange.
    """

    title: str
    about: str
    unit: str
    query: str
    alarm: float | None = None
    words: Mapping[str, str] = field(default_factory=dict)
    good: float | None = None
    links: Links = field(default_factory=dict)
    size: tuple[int, int] = (4, 4)

    def model(self) -> dict[str, Any]:
        thresholds = _steps(self.alarm)
        if self.good is not None:
            steps = [{"color": "orange", "value": None}, {"color": "green", "value": self.good}]
            thresholds = {"mode": "absolute", "steps": steps}
        texts = {value: {"text": text} for value, text in self.words.items()}
        mappings = [{"type": "value", "options": texts}] if texts else []
        return {
            "type": "stat",
            **_common(self.title, self.about, {"": self.query}, self.links),
            "fieldConfig": {
                "defaults": {"unit": self.unit, "thresholds": thresholds, "mappings": mappings},
                "overrides": [],
            },
            "options": {
                "colorMode": "value",
                "graphMode": "none" if texts else "area",
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            },
        }


@dataclass(frozen=True)
class Ranking:
    """The present values of some series as bars, the largest first."""

    title: str
    about: str
    unit: str
    query: str
    legend: str
    alarm: float
    size: ClassVar = (8, 7)

    def model(self) -> dict[str, Any]:
        common = _common(self.title, self.about, {self.legend: self.query}, {})
        common["targets"][0] |= {"instant": True, "range": False}
        return {
            "type": "bargauge",
            **common,
            "fieldConfig": {
                "defaults": {"unit": self.unit, "min": 0, "thresholds": _steps(self.alarm)},
                "overrides": [],
            },
            "options": {
                "displayMode": "basic",
                "orientation": "horizontal",
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            },
        }


@dataclass(frozen=True)
class Table:
    """The labels and values of some series, a row for each subject.

    Attributes:
        columns: PromQL by title of the column.
    """

    title: str
    about: str
    columns: dict[str, str]
    size: ClassVar = (8, 11)

    def model(self) -> dict[str, Any]:
        common = _common(self.title, self.about, self.columns, {})
        for target in common["targets"]:
            target |= {"instant": True, "range": False, "format": "table"}
        titles = {
            f"Value #{target['refId']}": target["legendFormat"] for target in common["targets"]
        }
        link = {"title": "Investigate ${__value.raw}", "url": INVESTIGATION + "${__value.raw}"}
        return {
            "type": "table",
            **common,
            "fieldConfig": {
                "defaults": {"unit": "short"},
                "overrides": [
                    {
                        "matcher": {"id": "byName", "options": "subject"},
                        "properties": [
                            {"id": "links", "value": [link]},
                            {"id": "custom.width", "value": 240},
                        ],
                    }
                ],
            },
            "options": {"sortBy": [{"displayName": next(iter(self.columns)), "desc": True}]},
            "transformations": [
                {"id": "merge", "options": {}},
                {
                    "id": "organize",
                    "options": {"excludeByName": {"Time": True}, "renameByName": titles},
                },
            ],
        }


@dataclass(frozen=True)
class Heatmap:
    """A histogram over time."""

    title: str
    about: str
    unit: str
    query: str
    size: ClassVar = (8, 7)

    def model(self) -> dict[str, Any]:
        common = _common(self.title, self.about, {"{{le}}": self.query}, {})
        common["targets"][0]["format"] = "heatmap"
        return {
            "type": "heatmap",
            **common,
            "fieldConfig": {"defaults": {}, "overrides": []},
            "options": {
                "calculate": False,
                "color": {"mode": "scheme", "scheme": "Oranges"},
                "yAxis": {"unit": self.unit},
                "cellGap": 1,
            },
        }


@dataclass(frozen=True)
class Text:
    """Words in Markdown."""

    title: str
    about: str
    text: str
    size: tuple[int, int] = (8, 11)

    def model(self) -> dict[str, Any]:
        return {
            "type": "text",
            "title": self.title,
            "description": self.about,
            "options": {"mode": "markdown", "content": self.text},
        }


Panel = Graph | Figure | Ranking | Table | Heatmap | Text


def _steps(alarm: float | None) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if alarm is not None:
        steps.append({"color": "red", "value": alarm})
    return {"mode": "absolute", "steps": steps}


def _common(title: str, about: str, queries: dict[str, str], links: Links) -> dict[str, Any]:
    return {
        "title": title,
        "description": about,
        "datasource": SOURCE,
        "links": [{"title": name, "url": address} for name, address in links.items()],
        "targets": [
            {"refId": ref, "datasource": SOURCE, "expr": expression, "legendFormat": legend}
            for ref, (legend, expression) in zip(_references(queries), queries.items(), strict=True)
        ],
    }


def _references(queries: dict[str, str]) -> str:
    """Grafana's letters for the queries of a panel.

    Raises:
        ValueError: if there are more queries than letters.
    """
    if len(queries) > len(ascii_uppercase):
        raise ValueError(f"{len(queries)} queries in one panel, at most 26: split the panel.")
    return ascii_uppercase[: len(queries)]
