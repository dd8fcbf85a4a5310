"""Heartbeats of processes that tests need not start."""

from __future__ import annotations

from typing import Any

from monitor.config import Settings
from monitor.store.operate.processes import Place, Process, ReceiverHealth
from pipelines.web.heartbeat import models

NOW = 1_790_000_000.0


def process(role: str, number: int = 0, **others: Any) -> Process:
    """A process with a role, well unless `others` say something else."""
    facts: dict[str, Any] = {
        "id": f"{role}-{number}",
        "host": "node-1",
        "pid": 100 + number,
        "roles": [role],
        "version": "0.1.0",
        "started": NOW - 7_200,
        "at": NOW - 2,
        "skew": 0.0,
        "group": "" if role == "decide" else "extraction-monitor",
        "settings": {"mapping": "native"},
        "settings_digest": "5e771",
        "secret": "5ec7e7",
        "models": dict(models(Settings())),
    }
    return Process(**facts | others)


def deployment(**changes: dict[str, Any]) -> list[Process]:
    """A deployment that is well, but for the changes of the process of a role."""
    own: dict[str, dict[str, Any]] = {
        "watch": {
            "partitions": [
                Place(f"llm.requests:{n}", 5_000, 12 * n, NOW - 3_600.0 + n) for n in range(8)
            ],
            "open_alerts": {"elicitation": {"critical": 3, "info": 40}},
            "drift": {"requests_1h": 0.02, "breadth": 0.13},
        },
        "link": {
            "partitions": [Place("extraction.fingerprints:0", 900, 0, NOW)],
            "open_alerts": {"campaign": {"critical": 1}},
        },
        "deliver": {
            "partitions": [Place("extraction.alerts:0", 40, 0, 0.0)],
            "receivers": [ReceiverHealth("pager", "pagerduty", True, 0, NOW - 300)],
        },
        "decide": {"enforced": {"throttle": 2, "block": 1}},
    }
    return [process(role, **facts | changes.get(role, {})) for role, facts in own.items()]
