"""The Grafana dashboards as code: `python -m dashboards.build` writes their JSON beside it.

Each follows the questions of its readers: `overview` those of everybody, `investigation` those of
the abuse team, `quality` those of whoever sets the thresholds, `health` those of the people who
run the monitor.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dashboards import health, investigation, overview, quality
from dashboards.panels import SOURCE, Panel

WIDTH = 24  # columns of Grafana's grid
TAG = "extraction-monitor"


class Dashboard(NamedTuple):
    """One dashboard.

    Attributes:
        uid: of its address `/d/UID`; links depend on it.
        span: of time that it shows at first.
    """

    uid: str
    title: str
    about: str
    rows: Mapping[str, Sequence[Panel]]
    span: str = "6h"
    by_subject: bool = False


DASHBOARDS = {
    "overview": Dashboard(
        "extraction-monitor",
        "Extraction monitor: overview",
        "Is extraction going on, who pays attention, and what was done about it.",
        overview.ROWS,
    ),
    "investigation": Dashboard(
        "xm-investigation",
        "Extraction monitor: investigation",
        "One key, account or campaign that is flagged.",
        investigation.ROWS,
        span="24h",
        by_subject=True,
    ),
    "quality": Dashboard(
        "xm-quality",
        "Extraction monitor: detection quality",
        "False alerts against their budget, findings by detector, and drift from the reference.",
        quality.ROWS,
        span="7d",
    ),
    "health": Dashboard(
        "xm-health",
        "Extraction monitor: pipeline health",
        "From Kafka through the detectors to receivers and gateways.",
        health.ROWS,
        span="1h",
    ),
}

_SOURCES = {
    "name": "datasource",
    "label": "Prometheus",
    "type": "datasource",
    "query": "prometheus",
}
_INSTANCES = {
    "name": "instance",
    "label": "Process",
    "type": "query",
    "datasource": SOURCE,
    "query": {"query": "label_values(xm_build_info, instance)", "refId": "instance"},
    "refresh": 2,
    "includeAll": True,
    "multi": True,
    "allValue": ".*",
    "current": {"text": "All", "value": "$__all"},
}
_SUBJECT = {
    "name": "subject",
    "label": "Key, account or campaign",
    "description": "A pseudonym as in alerts: k_…, a_…, u_… or c_….",
    "type": "textbox",
    "query": "",
    "current": {"text": "", "value": ""},
}
_LINKS = [
    {
        "title": "Extraction monitor",
        "type": "dashboards",
        "tags": [TAG],
        "asDropdown": False,
        "includeVars": False,
        "keepTime": True,
        "icon": "external link",
    }
]


def _annotations() -> list[dict[str, Any]]:
    """Firing alerts as marks on all time series, and restarts with another version."""
    return [
        {
            "name": name,
            "datasource": SOURCE,
            "enable": enabled,
            "iconColor": color,
            "expr": expression,
            "titleFormat": title,
            "textFormat": text,
            "step": "60s",
        }
        for name, enabled, color, expression, title, text in (
            (
                "Extraction alerts",
                True,
                "red",
                'ALERTS{alertname=~"Extraction.*", alertstate="firing"}',
                "{{alertname}}",
                "{{severity}} {{kind}}",
            ),
            (
                "Monitor alerts",
                True,
                "orange",
                'ALERTS{alertname=~"Monitor.*", alertstate="firing"}',
                "{{alertname}}",
                "{{severity}} {{instance}}",
            ),
            (
                "Starts",
                False,
                "blue",
                'changes(process_start_time_seconds{job=~"extraction-monitor.*"}[1m]) > 0',
                "Process started",
                "{{instance}} {{process}}",
            ),
        )
    ]


def dashboard(name: str) -> dict[str, Any]:
    """A dashboard in Grafana's JSON model."""
    chosen = DASHBOARDS[name]
    variables = [_SOURCES, *([_SUBJECT] if chosen.by_subject else []), _INSTANCES]
    return {
        "uid": chosen.uid,
        "title": chosen.title,
        "description": chosen.about,
        "tags": [TAG],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": f"now-{chosen.span}", "to": "now"},
        "templating": {"list": variables},
        "annotations": {"list": _annotations()},
        "links": _LINKS,
        "panels": [
            {"id": number, **panel} for number, panel in enumerate(_placed(chosen.rows), start=1)
        ],
    }


def _placed(rows: Mapping[str, Sequence[Panel]]) -> Iterator[dict[str, Any]]:
    """Panels with their positions: rows below each other, panels side by side.

    A panel that is less high than its neighbours has the next one below it.
    """
    y = 0
    for title, panels in rows.items():
        yield {"type": "row", "title": title, "gridPos": _place(0, y, WIDTH, 1), "panels": []}
        top = [y + 1] * WIDTH  # the first free line of each column
        for panel in panels:
            width, height = panel.size
            x = min(range(WIDTH - width + 1), key=lambda x: (max(top[x : x + width]), x))
            line = max(top[x : x + width])
            yield {**panel.model(), "gridPos": _place(x, line, width, height)}
            top[x : x + width] = [line + height] * width
        y = max(top)


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def main() -> None:
    for name in DASHBOARDS:
        text = json.dumps(dashboard(name), indent=2, ensure_ascii=False)
        Path(__file__).with_name(f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
