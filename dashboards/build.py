"""The Grafana dashboard as code: `python dashboards/build.py` writes overview.json beside it.

The rows follow the questions of a person on call: is an extraction going on, is the monitor
healthy, what do the detectors find, which campaigns are open, what comes in, how well is it read,
what goes out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any, ClassVar

WIDTH = 24  # columns of Grafana's grid
EVERY = "$__rate_interval"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Panel:
    """A time series panel: PromQL expressions by legend."""

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
    """A single number, red at `alarm` and above."""

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


def metric(name: str, **labels: str) -> str:
    """A selector for the series of the chosen workers."""
    chosen = ", ".join(f'{label}="{value}"' for label, value in labels.items())
    return f'{name}{{instance=~"$instance"{", " if chosen else ""}{chosen}}}'


def per_second(name: str, by: str = "", every: str = EVERY) -> str:
    return f"sum {f'by ({by}) ' if by else ''}(rate({metric(name)}[{every}]))"


def quantiles(name: str, every: str = EVERY) -> dict[str, str]:
    buckets = per_second(f"{name}_bucket", "le", every)
    return {f"p{q:g}": f"histogram_quantile({q / 100:g}, {buckets})" for q in (50, 99)}


def by(label: str, expression: str) -> dict[str, str]:
    return {f"{{{{{label}}}}}": expression}


# After a rebalance two workers may report the same partition; count it once.
LAG = f"sum(max by (topic, partition) ({metric('xm_lag')}))"
EVENTS = per_second("xm_events_total")
REJECTED = per_second("xm_rejections_total")
READ = f"({REJECTED} + {EVENTS})"

ROWS: dict[str, list[Panel | Figure]] = {
    "At a glance": [
        Figure(
            "Critical alerts open",
            "Keys and campaigns with an open critical alert. Page for these.",
            "none",
            f"sum({metric('xm_open_alerts', severity='critical')})",
            alarm=1,
        ),
        Figure(
            "Warnings open",
            "Keys and campaigns with an open warning. The abuse team reviews these.",
            "none",
            f"sum({metric('xm_open_alerts', severity='warning')})",
        ),
        Figure("Requests", "All workers together.", "reqps", EVENTS),
        Figure("Lag", "Kafka messages not yet processed.", "short", LAG, alarm=10_000),
        Figure(
            "Rejected",
            "Share of requests that cannot be read. They are not monitored.",
            "percentunit",
            f"{REJECTED} / ({READ} > 0)",
            alarm=0.01,
        ),
        Figure(
            "Undelivered alerts",
            "Alerts that wait for a receiver that is unavailable.",
            "none",
            f"sum({metric('xm_undelivered_alerts')})",
            alarm=1,
        ),
    ],
    "Health": [
        Panel(
            "Requests",
            "Requests observed by each worker.",
            "reqps",
            by("instance", per_second("xm_events_total", "instance")),
            stacked=True,
        ),
        Panel(
            "Lag",
            "Unprocessed messages. Stable is fine; growing means that workers cannot keep up.",
            "short",
            by("topic", f"sum by (topic) (max by (topic, partition) ({metric('xm_lag')}))"),
        ),
        Panel(
            "Event time lag",
            "Age of the newest processed request, in the partition that is furthest behind.",
            "s",
            by(
                "topic",
                "max by (topic) (time() - max by (topic, partition) "
                f"({metric('xm_watermark_timestamp_seconds')}))",
            ),
        ),
        Panel(
            "Checkpoint",
            "Time to write a checkpoint to Redis. Alerts are published after it.",
            "s",
            quantiles("xm_checkpoint_seconds"),
        ),
        Panel(
            "Checkpoint failures",
            "Checkpoints that Redis refused. The worker stops reading until one succeeds.",
            "ops",
            by("instance", per_second("xm_checkpoint_failures_total", "instance")),
        ),
        Panel(
            "Records written",
            "Changed key records per second, written with the checkpoints.",
            "ops",
            by("instance", per_second("xm_checkpoint_records_total", "instance")),
        ),
        Panel(
            "Live keys",
            "Key records in memory, at most XM_ROWS per worker.",
            "short",
            by("instance", f"sum by (instance) ({metric('xm_live_keys')})"),
        ),
        Panel(
            "Busy",
            "Share of time spent on processing requests. Near 1, add a worker.",
            "percentunit",
            by("instance", per_second("xm_observe_seconds_sum", "instance")),
        ),
    ],
    "Detection": [
        Panel(
            "Findings",
            "Evaluations in which a detector flagged a key. A jump in all detectors points to a "
            "change in traffic, a jump in one detector to an attack.",
            "ops",
            by("detector", per_second("xm_findings_total", "detector")),
        ),
        Panel(
            "Open alerts",
            "Keys and campaigns with an open alert, by kind and severity.",
            "none",
            {
                "{{kind}} {{severity}}": f"sum by (kind, severity) ({metric('xm_open_alerts')})",
            },
            stacked=True,
        ),
        Panel(
            "Alerts per hour",
            "Alerts opened, updated and resolved.",
            "none",
            {
                "{{kind}} {{state}}": "sum by (kind, state) "
                f"(increase({metric('xm_alerts_total')}[1h]))",
            },
        ),
        Panel(
            "Request to alert",
            "Time from the arrival of a request in Kafka to the alert that it triggers, over 1 h.",
            "s",
            quantiles("xm_event_to_alert_seconds", "1h"),
        ),
    ],
    "Campaigns": [
        Panel(
            "Open campaigns",
            "Open campaigns (coordinated keys) by severity. List them with `xm campaigns`.",
            "none",
            by(
                "severity",
                f"sum by (severity) ({metric('xm_open_alerts', kind='campaign')})",
            ),
            stacked=True,
        ),
        Panel(
            "Fingerprints",
            "Key fingerprints processed by the linker. The rate follows the requests; zero while "
            "requests arrive means that no worker links keys.",
            "ops",
            by("instance", per_second("xm_fingerprints_total", "instance")),
            stacked=True,
        ),
        Panel(
            "Linked keys",
            "Keys compared by the linker, at most XM_CAMPAIGNS__KEYS.",
            "short",
            by("instance", f"sum by (instance) ({metric('xm_linked_keys')})"),
        ),
        Panel(
            "Linking duration",
            "Time to search all keys for campaigns, over 1 h. A round runs every 10 minutes of "
            "event time, and fingerprints wait for it.",
            "s",
            quantiles("xm_link_seconds", "1h"),
        ),
    ],
    "Input": [
        Panel(
            "Rejections",
            "Requests that cannot be read, by reason. Each is in the topic of rejected requests.",
            "reqps",
            by("reason", per_second("xm_rejections_total", "reason")),
            stacked=True,
        ),
        Panel(
            "Repeated requests",
            "Requests whose id, time and text were seen before: messages that were sent twice.",
            "reqps",
            by("instance", per_second("xm_repeated_events_total", "instance")),
        ),
        Panel(
            "Batch size",
            "Kafka messages per batch. It grows with the load; larger batches cost less per "
            "message.",
            "short",
            quantiles("xm_batch_size"),
        ),
        Panel(
            "Batch duration",
            "Time to decode a batch and run the detectors, without Kafka and Redis.",
            "s",
            quantiles("xm_observe_seconds"),
        ),
    ],
    "Input quality": [
        Panel(
            "Refused requests",
            "Requests answered with 401, 403, 429 or 5xx. They are not evaluated.",
            "reqps",
            by("status", per_second("xm_refused_requests_total", "status")),
            stacked=True,
        ),
        Panel(
            "Unreadable fields",
            "Requests read without a field that cannot be read. Adapt the mapping.",
            "reqps",
            by("field", per_second("xm_unreadable_fields_total", "field")),
        ),
        Panel(
            "Requests without a prompt",
            "Share of requests without any text. Near 1, the log does not record prompts.",
            "percentunit",
            {"share": f"{per_second('xm_requests_without_prompt_total')} / ({EVENTS} > 0)"},
        ),
        Panel(
            "Late, reused id, no message key",
            "Late requests count at a later time. A client chooses ids that are reused. Messages "
            "without a key spread one API key over all workers.",
            "reqps",
            {
                "late": per_second("xm_late_requests_total"),
                "reused id": per_second("xm_reused_ids_total"),
                "no message key": f"{per_second('xm_unkeyed_messages_total')} or vector(0)",
            },
        ),
    ],
    "Outputs": [
        Panel(
            "Deliveries",
            "Alerts delivered, retried because the receiver is unavailable, or refused by it.",
            "ops",
            {
                "{{receiver}} {{outcome}}": per_second("xm_deliveries_total", "receiver, outcome"),
            },
        ),
        Panel(
            "Undelivered alerts",
            "Alerts that wait, by receiver.",
            "none",
            by("receiver", f"sum by (receiver) ({metric('xm_undelivered_alerts')})"),
        ),
        Panel(
            "Decisions",
            "Decisions made, by action. Shadow mode is included.",
            "ops",
            by("action", per_second("xm_decisions_total", "action")),
        ),
        Panel(
            "Enforced",
            "Keys, accounts and end users on which a decision is enforced now, by action.",
            "none",
            by("action", f"max by (action) ({metric('xm_enforced_decisions')})"),
        ),
        Panel(
            "Held back",
            "Keys, accounts and end users on which less is enforced than was decided: by the kill "
            "switch, allow-list, withdrawn alerts, shadow mode or caps.",
            "none",
            by("why", f"max by (why) ({metric('xm_held_back_decisions')})"),
        ),
        Panel(
            "Switches",
            "1 while the kill switch or shadow mode is on for all, or the caps are lifted; and "
            "decisions per second that the caps hold back.",
            "none",
            {
                "{{switch}}": f"max by (switch) ({metric('xm_switch')})",
                "capped": per_second("xm_capped_decisions_total"),
            },
        ),
        Panel(
            "False alerts and appeals",
            "Alerts of the last 30 days that people withdrew as no attack, by kind; appeals of "
            "customers without a ruling, and those that are overdue.",
            "none",
            {
                "withdrawn {{kind}}": f"max by (kind) ({metric('xm_withdrawn_alerts')})",
                "appeals": f"max({metric('xm_appeals_waiting')})",
                "overdue": f"max({metric('xm_appeals_overdue')})",
            },
        ),
        Panel(
            "Decision requests",
            "Decisions that gateways asked for, by the action found.",
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
    """The dashboard in Grafana's JSON model."""
    return {
        "uid": "extraction-monitor",
        "title": "Extraction monitor",
        "description": "Model extraction through the API, and the health of the monitor.",
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
    """Panels with their positions: rows below each other, panels side by side."""
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
