"""`xm forward`: sources, a spool and a sender in one process.

    log files, objects ──┐
                         ├──► intake ──► spool (disk) ──► sender ──► Kafka
    OTLP, uploads ───────┘

It can be stopped or killed at any time: what the spool holds is sent after the next start, and each
source continues behind the last message in the spool.
"""

from __future__ import annotations

import asyncio
import logging.config
import signal
from collections.abc import Coroutine, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from monitor.config import Settings
from monitor.requests.decoder import Decoder
from pipelines.forward.files import LogFiles
from pipelines.forward.intake import Intake
from pipelines.forward.metrics import ForwardMetrics
from pipelines.forward.pages import serving
from pipelines.forward.sender import Sender
from pipelines.forward.spool import Spool

_LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {"pipelines": {"level": "INFO"}},
    "root": {"level": "WARNING", "handlers": ["stderr"]},
}


def run_forward(settings: Settings, paths: Sequence[str]) -> None:
    """Forward requests until SIGINT or SIGTERM.

    Args:
        paths: log files, folders or patterns.

    Raises:
        ConfigError: the settings cannot be used, or the port or the spool is in use.
    """
    logging.config.dictConfig(_LOGGING)
    asyncio.run(_run(settings, paths))


async def _run(settings: Settings, paths: Sequence[str]) -> None:
    metrics = ForwardMetrics(_registry())
    decoder = Decoder.of(settings)
    limit = settings.forward.spool_megabytes << 20
    spool = Spool(settings.forward.spool, limit)
    try:
        intake = Intake(decoder, spool, metrics)
        sender = Sender(settings, spool, metrics)
        _show(spool, metrics, limit)
        files = LogFiles(paths, await spool.positions(), intake, metrics)
        async with serving(settings.forward, sender, metrics):
            await _until_stopped(sender.run(), files.run())
    finally:
        spool.close()


async def _until_stopped(*work: Coroutine[Any, Any, None]) -> None:
    """Do work until a signal, or until some of it fails."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    tasks = [asyncio.create_task(each) for each in (stopped.wait(), *work)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _show(spool: Spool, metrics: ForwardMetrics, limit: int) -> None:
    metrics.spool_limit.set(limit)
    metrics.spool_bytes.set_function(lambda: spool.size)
    metrics.spool_messages.set_function(lambda: spool.count)


def _registry() -> CollectorRegistry:
    """A registry with the metrics of the process, as Prometheus clients have them."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry
