"""The Grafana dashboard as code: `python dashboards/build.py` writes overview.json beside it.

From top to bottom it answers what is asked on call, in that order: is something going on, is the
monitor well, what does it find, what does it read, what does it tell.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

WIDTH = 24  # of Grafana's grid
EVERY = "$__rate_interval"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Panel:
    """Lines over time: each has a legend and an expression."""

    title: str
    about: str
    unit: str
    queries: dict[str, str]
    stacked: bool = False
    size: ClassVar = (6, 7)

    def model(self) -> dict[str, Any]:
        lines = {"fillOpacity": 10, "lineWidth": 1, "showPoints": "never"}
        if self.stacked:
            lines |= {"fillOpacity": 40, "stacking": {"mode": "normal", "group": "A"}}
        return {
            "type": "timeseries",
            **_common(self.title, self.about, self.queries),
            "fieldConfig": {
                "defaults": {"unit": self.unit, "min": 0, "custom": lines},
                "overrides": [],
            },
            "options": {
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "tooltip": {"mode": "multi", "sort": "desc"},
            },
        }


@dataclass(frozen=True)
class Figure:
    """A single number, red from `alarm` on."""

    title: str
    about: str
    unit: str
    query: str
    alarm: float | None = None
    size: ClassVar = (4, 4)

    def model(self) -> dict[str, Any]:
        steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
        if self.alarm is not None:
            steps.append({"color": "red", "value": self.alarm})
        return {
            "type": "stat",
            **_common(self.title, self.about, {"": self.query}),
            "fieldConfig": {
                "defaults": {
                    "unit": self.unit,
                    "thresholds": {"mode": "absolute", "steps": steps},
                },
                "overrides": [],
            },
            "options": {
                "colorMode": "value",
                "graphMode": "area",
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            },
        }


def _common(title: str, about: str, queries: dict[str, str]) -> dict[str, Any]:
    return {
        "title": title,
        "description": about,
        "datasource": SOURCE,
        "targets": [
            {"refId": ref, "datasource": SOURCE, "expr": expression, "legendFormat": legend}
            for ref, (legend, expression) in zip("ABCDEF", queries.items(), strict=False)
        ],
    }


def metric(name: str, **labels: str) -> str:
    """A selector for the chosen workers' series."""
    chosen = ", ".join(f'{label}="{value}"' for label, value in labels.items())
    return f'{name}{{instance=~"$instance"{", " if chosen else ""}{chosen}}}'


def per_second(name: str, by: str = "", every: str = EVERY) -> str:
    return f"sum {f'by ({by}) ' if by else ''}(rate({metric(name)}[{every}]))"


def quantiles(name: str, every: str = EVERY) -> dict[str, str]:
    buckets = per_second(f"{name}_bucket", "le", every)
    return {f"p{q:g}": f"histogram_quantile({q / 100:g}, {buckets})" for q in (50, 99)}


def by(label: str, expression: str) -> dict[str, str]:
    return {f"{{{{{label}}}}}": expression}


# A partition that moved is still shown by the worker that lost it, so it is counted once.
LAG = f"sum(max by (topic, partition) ({metric('xm_lag')}))"
REJECTED = per_second("xm_rejections_total")
READ = f"({REJECTED} + {per_second('xm_events_total')})"

ROWS: dict[str, list[Panel | Figure]] = {
    "At a glance": [
        Figure(
            "Critical alerts open",
            "Keys or campaigns that a pager should ring for.",
            "none",
            f"sum({metric('xm_open_alerts', severity='critical')})",
            alarm=1,
        ),
        Figure(
            "Warnings open",
            "Keys or campaigns that an abuse team should look at.",
            "none",
            f"sum({metric('xm_open_alerts', severity='warning')})",
        ),
        Figure("Requests", "Observed, all workers.", "reqps", per_second("xm_events_total")),
        Figure("Lag", "Kafka messages that wait.", "short", LAG, alarm=10_000),
        Figure(
            "Rejected",
            "Share of the requests that cannot be used and so go unwatched.",
            "percentunit",
            f"{REJECTED} / ({READ} > 0)",
            alarm=0.01,
        ),
        Figure(
            "Undelivered alerts",
            "Alerts that wait for a receiver which is away.",
            "none",
            f"sum({metric('xm_undelivered_alerts')})",
            alarm=1,
        ),
    ],
    "Health": [
        Panel(
            "Requests",
            "Observed by each worker.",
            "reqps",
            by("instance", per_second("xm_events_total", "instance")),
            stacked=True,
        ),
        Panel(
            "Lag",
            "Messages between the checkpoint and the end. Steady is well, growing is not.",
            "short",
            by("topic", f"sum by (topic) (max by (topic, partition) ({metric('xm_lag')}))"),
        ),
        Panel(
            "Behind the clock",
            "How old the newest request of the partition furthest behind is.",
            "s",
            by(
                "topic",
                "max by (topic) (time() - max by (topic, partition) "
                f"({metric('xm_watermark_timestamp_seconds')}))",
            ),
        ),
        Panel(
            "Checkpoint",
            "Time to write one to Redis; alerts wait for it.",
            "s",
            quantiles("xm_checkpoint_seconds"),
        ),
        Panel(
            "Checkpoint failures",
            "Refused by Redis. The worker stops reading until one is taken.",
            "ops",
            by("instance", per_second("xm_checkpoint_failures_total", "instance")),
        ),
        Panel(
            "Records written",
            "Keys' records that changed between two checkpoints.",
            "ops",
            by("instance", per_second("xm_checkpoint_records_total", "instance")),
        ),
        Panel(
            "Live keys",
            "Records in memory, of XM_ROWS at most.",
            "short",
            by("instance", f"sum by (instance) ({metric('xm_live_keys')})"),
        ),
        Panel(
            "Busy",
            "Share of the time spent on observing requests; near 1, add a worker.",
            "percentunit",
            by("instance", per_second("xm_observe_seconds_sum", "instance")),
        ),
    ],
    "Detection": [
        Panel(
            "Findings",
            "How often each detector finds a key improbable. A jump in all of them is a change in "
            "the traffic, in one of them an attack.",
            "ops",
            by("detector", per_second("xm_findings_total", "detector")),
        ),
        Panel(
            "Open alerts",
            "Keys and campaigns under suspicion now.",
            "none",
            {
                "{{kind}} {{severity}}": f"sum by (kind, severity) ({metric('xm_open_alerts')})",
            },
            stacked=True,
        ),
        Panel(
            "Alerts an hour",
            "Messages about alerts opened, raised and resolved.",
            "none",
            {
                "{{kind}} {{state}}": "sum by (kind, state) "
                f"(increase({metric('xm_alerts_total')}[1h]))",
            },
        ),
        Panel(
            "Request to alert",
            "From a request's arrival in Kafka to the alert that it completes, over an hour.",
            "s",
            quantiles("xm_event_to_alert_seconds", "1h"),
        ),
    ],
    "Campaigns": [
        Panel(
            "Open campaigns",
            "Groups of keys that act as one, by severity; `xm campaigns` says who they are.",
            "none",
            by(
                "severity",
                f"sum by (severity) ({metric('xm_open_alerts', kind='campaign')})",
            ),
            stacked=True,
        ),
        Panel(
            "Fingerprints",
            "What keys are held against each other by. It follows the requests; none at all while "
            "there are requests means that no worker links.",
            "ops",
            by("instance", per_second("xm_fingerprints_total", "instance")),
            stacked=True,
        ),
        Panel(
            "Linked keys",
            "Keys among which campaigns are looked for, of XM_CAMPAIGNS__KEYS at most.",
            "short",
            by("instance", f"sum by (instance) ({metric('xm_linked_keys')})"),
        ),
        Panel(
            "Time of a round",
            "Asking who acts as one, over an hour; there is a round every ten minutes of event "
            "time, and fingerprints wait for it.",
            "s",
            quantiles("xm_link_seconds", "1h"),
        ),
    ],
    "Input": [
        Panel(
            "Rejections",
            "Requests that cannot be used, by reason; the topic of rejected requests has each.",
            "reqps",
            by("reason", per_second("xm_rejections_total", "reason")),
            stacked=True,
        ),
        Panel(
            "Repeated requests",
            "Skipped, because their id was seen before: senders that retry, and restarts.",
            "reqps",
            by("instance", per_second("xm_repeated_events_total", "instance")),
        ),
        Panel(
            "Batch size",
            "Kafka messages that are observed at once. It grows with the load, which is how the "
            "worker keeps up.",
            "short",
            quantiles("xm_batch_size"),
        ),
        Panel(
            "Time to observe a batch",
            "Decoding, counting and judging, without Kafka and Redis.",
            "s",
            quantiles("xm_observe_seconds"),
        ),
    ],
    "Ways out": [
        Panel(
            "Deliveries",
            "Alerts delivered, tried again because the receiver is away, or refused by it.",
            "ops",
            {
                "{{receiver}} {{outcome}}": per_second("xm_deliveries_total", "receiver, outcome"),
            },
        ),
        Panel(
            "Undelivered alerts",
            "Those that wait, by receiver.",
            "none",
            by("receiver", f"sum by (receiver) ({metric('xm_undelivered_alerts')})"),
        ),
        Panel(
            "Decisions",
            "Made about keys, in shadow mode too.",
            "ops",
            by("action", per_second("xm_decisions_total", "action")),
        ),
        Panel(
            "Look-ups",
            "Decisions that gateways asked for, by what they were told.",
            "reqps",
            by("action", per_second("xm_decision_lookups_total", "action")),
            stacked=True,
        ),
    ],
}

VARIABLES = [
    {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
    },
    {
        "name": "instance",
        "label": "Worker",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": "label_values(xm_events_total, instance)", "refId": "instance"},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    },
]


def dashboard() -> dict[str, Any]:
    """The dashboard in Grafana's model."""
    return {
        "uid": "extraction-monitor",
        "title": "Extraction monitor",
        "description": "Who copies a model through its API, and how the monitor is doing.",
        "tags": ["extraction-monitor"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": VARIABLES},
        "annotations": {"list": []},
        "panels": [{"id": number, **panel} for number, panel in enumerate(_placed(), start=1)],
    }


def _placed() -> Iterator[dict[str, Any]]:
    """Rows one below the other, panels side by side in them."""
    y = 0
    for title, panels in ROWS.items():
        yield {"type": "row", "title": title, "gridPos": _place(0, y, WIDTH, 1), "panels": []}
        x, y = 0, y + 1
        for panel in panels:
            width, height = panel.size
            if x + width > WIDTH:
                x, y = 0, y + height
            yield {**panel.model(), "gridPos": _place(x, y, width, height)}
            x += width
        y += height


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def main() -> None:
    text = json.dumps(dashboard(), indent=2, ensure_ascii=False)
    Path(__file__).with_name("overview.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
