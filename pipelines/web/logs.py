"""The log of a long-running process: our own events from INFO on, others from WARNING on."""

from __future__ import annotations

from typing import Any

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"sparse": {"()": "pipelines.web.server.Sparse"}},
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "asyncio": {"filters": ["sparse"]},
        "pipelines": {"level": "INFO"},
        "pipelines.kafka.transport": {"level": "WARNING"},
        "monitor": {"level": "INFO"},
        "uvicorn.error": {"filters": ["sparse"]},
        "kafka": {"level": "CRITICAL"},  # of single reads and checks: their errors are raised
    },
    "root": {"level": "WARNING", "handlers": ["stderr"]},
}
