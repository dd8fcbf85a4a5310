"""Several roles under one command: a process for each, and one set of pages.

This process loads modules and kernels and forks the others. It answers gateways if `decide` is
among the roles, and serves the pages of all on the web port. When one process ends by itself, it
stops the rest and ends too, so that whatever restarts it finds nothing half alive. When it is
killed, Linux kills the others.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import logging.config
import signal
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import uvloop

from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import from_settings
from monitor.store.memory import MemoryStore
from pipelines.decide.lookups import Lookups
from pipelines.kafka.topics import check_topics
from pipelines.supervisor.child import Child
from pipelines.supervisor.pages import pages
from pipelines.web.logs import LOGGING
from pipelines.web.registry import process_registry
from pipelines.web.server import Server, raise_descriptor_limit
from pipelines.worker.app import run_worker
from pipelines.worker.roles import Role
from pipelines.worker.web import Listening, listen, log_start

log = logging.getLogger(__name__)

_STOP_SECONDS = 20.0  # until a process that does not stop is killed
_SWITCH_SECONDS = 0.0005  # that a look-up waits for the thread that reads Redis


def run_roles(
    settings: Settings, roles: Sequence[Role], *, processes: int = 1, rekey: bool = False
) -> int:
    """Run the processes of some roles until SIGINT or SIGTERM, or until one ends.

    Args:
        processes: with the role `watch`.
        rekey: as for `xm worker`.

    Returns:
        the exit status: that of the process that ended by itself, else 0.

    Raises:
        ConfigError: if a setting cannot be used, or a topic is missing.
    """
    listening = listen(settings)
    check_topics(settings, rekey=rekey)
    logging.config.dictConfig(LOGGING)
    log_start(settings, roles, listening)
    raise_descriptor_limit()
    if Role.watch in roles:
        Engine(settings, from_settings(settings), MemoryStore())  # loads the kernels
    gc.freeze()  # a collection in a child would copy all memory that it shares
    with tempfile.TemporaryDirectory(prefix="xm-worker-") as folder:
        children = [
            Child(
                role,
                number,
                Path(folder),
                partial(run_worker, settings, role, rekey=rekey and role is Role.watch),
            )
            for role in roles
            if role is not Role.decide
            for number in range(processes if role is Role.watch else 1)
        ]
        for child in children:
            child.start()
        sys.setswitchinterval(_SWITCH_SECONDS)
        return uvloop.run(_run(settings, children, listening, answers=Role.decide in roles))


async def _run(
    settings: Settings, children: Sequence[Child], listening: Listening, *, answers: bool
) -> int:
    registry = process_registry()
    lookups = Lookups(settings, registry) if answers else None
    server = Server(
        pages(children, registry, lookups),
        settings.web_host,
        settings.web_port,
        listening=listening,
        connection=None if lookups is None else lookups.connection,
    )
    stopping = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stopping.set)
    try:
        await server.start()
        return await _first_end(children, stopping)
    finally:
        await asyncio.gather(*(child.stop(_STOP_SECONDS) for child in children))
        await server.stop()


async def _first_end(children: Sequence[Child], stopping: asyncio.Event) -> int:
    """Wait until this process must stop, or a child has ended; the exit status."""
    stop = asyncio.create_task(stopping.wait())
    ends = {asyncio.create_task(child.ended()): child for child in children}
    done, waiting = await asyncio.wait([stop, *ends], return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()
    await asyncio.wait([stop, *ends])
    if stop in done:
        return 0
    status, name = next((end.result(), child.name) for end, child in ends.items() if end in done)
    log.error("process_ended process=%s status=%d", name, status)
    return status if status > 0 else 1
