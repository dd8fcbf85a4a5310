"""The processes of the console: `xm console`.

This one serves pages. Its child, the reader, keeps the view up to date.
"""

from __future__ import annotations

import asyncio
import logging
import logging.config
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
import uvloop

from monitor.config import Settings
from monitor.errors import ConfigError
from pipelines.console.access.cookie import is_encrypted
from pipelines.console.access.sign_on import SignOn
from pipelines.console.app import application, services
from pipelines.console.connection import Connection
from pipelines.console.pages.health import trouble
from pipelines.console.reader.child import reading
from pipelines.web.heartbeat import Heartbeat
from pipelines.web.logs import LOGGING
from pipelines.web.tls import ServerTls, server_tls

log = logging.getLogger(__name__)

_PREFIX = "XM_CONSOLE__"
_MOST_REQUESTS = 1_000  # at the same time; each open page has one that waits for events
_BACKLOG = 512
_LOCAL = ("127.0.0.1", "::1", "localhost")
_ENCRYPT = (
    "Set XM_CONSOLE__TLS_CERT_FILE, or an https XM_CONSOLE__URL if a proxy ends TLS: otherwise "
    "tokens and sessions can be read on the way."
)
_STOP_SECONDS = 5
_IDLE_SECONDS = 75  # between requests; nginx keeps idle connections for 60 s


def run_console(settings: Settings) -> None:
    """Serve the pages until SIGINT or SIGTERM.

    Raises:
        ConfigError: if a setting cannot be used.
    """
    logging.config.dictConfig(LOGGING)
    chosen = settings.console
    tls = server_tls(chosen.tls_cert_file, chosen.tls_key_file, chosen.tls_client_ca_file, _PREFIX)
    console = services(settings)
    console.ordinary.start()
    console.health(scoped=False)  # begins to read it
    heartbeat = Heartbeat(
        settings, ["console"], lambda: {"trouble": trouble(console.view, time.time())}
    )
    config = uvicorn.Config(
        application(console, SignOn(settings)),
        http=Connection,
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        ws="none",
        limit_concurrency=_MOST_REQUESTS,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    config.load()
    config.ssl = None if tls is None else tls.context
    with _listening(chosen.host, chosen.port) as listening, reading(settings):
        scheme = "http" if tls is None else "https"
        log.info("console_serving url=%s://%s:%d", scheme, chosen.host, chosen.port)
        if not is_encrypted(chosen) and chosen.host not in _LOCAL:
            log.warning("console_not_encrypted remedy=%r", _ENCRYPT)
        uvloop.run(_serve(config, listening, tls, heartbeat))


async def _serve(
    config: uvicorn.Config,
    listening: socket.socket,
    tls: ServerTls | None,
    heartbeat: Heartbeat,
) -> None:
    beside = [asyncio.create_task(heartbeat.run())]
    if tls is not None:
        beside.append(asyncio.create_task(_renew(tls)))
    try:
        await uvicorn.Server(config).serve(sockets=[listening])
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


async def _renew(tls: ServerTls) -> None:
    """Use a renewed certificate within a second."""
    while True:
        await asyncio.sleep(1.0)
        tls.refresh()


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        found = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"Cannot listen on {host}:{port} ({error.strerror}): choose another address with "
            f"{_PREFIX}HOST and {_PREFIX}PORT."
        ) from error
    with found:
        yield found
