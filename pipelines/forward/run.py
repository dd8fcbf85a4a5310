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
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from monitor.config import Settings
from monitor.requests.decoder import Decoder
from pipelines.forward.files import LogFiles
from pipelines.forward.intake import Intake
from pipelines.forward.metrics import ForwardMetrics
from pipelines.forward.objects import Objects
from pipelines.forward.pages import pages, refreshing, serving, tokens_of
from pipelines.forward.receiver import Receiver
from pipelines.forward.sender import Sender
from pipelines.forward.spool import Spool
from pipelines.web.logs import LOGGING
from pipelines.web.registry import process_registry


def run_forward(settings: Settings, sources: Sequence[str], *, receive: bool = False) -> None:
    """Forward requests until SIGINT or SIGTERM.

    Args:
        sources: log files, folders or patterns, and URLs of objects.
        receive: whether to take OTLP exports and uploads by HTTP.

    Raises:
        ConfigError: the settings cannot be used, or the port or the spool is in use.
    """
    logging.config.dictConfig(LOGGING)
    asyncio.run(_run(settings, sources, receive))


async def _run(settings: Settings, sources: Sequence[str], receive: bool) -> None:
    chosen = settings.forward
    tokens = tokens_of(chosen) if receive else None
    metrics = ForwardMetrics(process_registry())
    decoder = Decoder.of(settings)
    spool = Spool(chosen.spool, chosen.spool_megabytes << 20)
    try:
        saved = await spool.positions()
        intake = Intake(decoder, spool, metrics)
        sender = Sender(settings, spool, metrics)
        receiver = Receiver(intake, tokens, _reads_otlp(settings), metrics) if receive else None
        _show(spool, metrics)
        urls = [each for each in sources if "://" in each]
        paths = [each for each in sources if "://" not in each]
        work: list[Callable[[], Coroutine[Any, Any, None]]] = [
            sender.run,
            *([LogFiles(paths, saved, intake, metrics).run] if paths else []),
            *([Objects(urls, saved, intake, chosen.poll_seconds).run] if urls else []),
            *([partial(refreshing, tokens)] if tokens else []),
        ]
        async with serving(chosen, pages(sender, metrics, receiver)):
            await _until_stopped(*work)
    finally:
        await spool.close()


def _reads_otlp(settings: Settings) -> bool:
    mapping = settings.mapping
    return (mapping if isinstance(mapping, str) else mapping.get("preset")) == "otel-genai"


async def _until_stopped(*work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do work until a signal, or until some of it fails."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    tasks = [asyncio.create_task(stopped.wait()), *(asyncio.create_task(each()) for each in work)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _show(spool: Spool, metrics: ForwardMetrics) -> None:
    metrics.spool_limit.set(spool.limit)
    metrics.spool_bytes.set_function(lambda: spool.size)
    metrics.spool_messages.set_function(lambda: spool.count)
