"""The pages of a worker.

| page | answer |
|---|---|
| `/metrics` | Prometheus metrics |
| `/healthz` | 200 while the process works |
| `/readyz` | 200 while it does its work, else 503 and why |
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version

from aiohttp import web
from mode import Service
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from monitor.alerting.enforcement import SHADOW
from monitor.config import Settings
from monitor.errors import ConfigError, StoreError
from monitor.store.control import ControlStore
from pipelines.notify import routes
from pipelines.web.server import BACKLOG, Server
from pipelines.worker.roles import Role

log = logging.getLogger(__name__)

Listening = socket.socket
IDLE = "No partition is assigned yet."
_RETRY_SECONDS = 5  # after which readiness may have changed


def pages(trouble: Callable[[], str | None], registry: CollectorRegistry) -> web.Application:
    """The pages of a worker.

    Args:
        trouble: why it is not ready; `None` if it is.
        registry: what `/metrics` shows.
    """

    async def metrics_page(_: web.Request) -> web.Response:
        return metrics_answer(generate_latest(registry))

    async def readyz(_: web.Request) -> web.Response:
        return readiness(trouble())

    app = web.Application()
    app.router.add_get("/metrics", metrics_page)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app


async def healthz(_: web.Request) -> web.Response:
    """The process works."""
    return web.Response(text="ok\n")


def readiness(trouble: str | None) -> web.Response:
    """The answer of `/readyz`."""
    if trouble is None:
        return web.Response(text="ready\n")
    retry = {"Retry-After": str(_RETRY_SECONDS)}
    return web.Response(text=f"{trouble}\n", status=503, headers=retry)


def metrics_answer(page: bytes) -> web.Response:
    """The answer of `/metrics`."""
    return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})


def listen(settings: Settings) -> Listening:
    """Listen on the web port. It is taken before anything slow, so that no other worker gets it.

    Raises:
        ConfigError: if it is not free.
    """
    listening = socket.socket(socket.AF_INET6 if ":" in settings.web_host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.web_host, settings.web_port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"Cannot listen on {settings.web_host}:{settings.web_port} "
            f"({error.strerror}): choose another with XM_WEB_HOST and XM_WEB_PORT."
        ) from error
    return listening


def log_start(settings: Settings, roles: Sequence[Role], listening: Listening) -> None:
    """Log what starts: version, address, roles, whether decisions are enforced, and receivers."""
    host, port = listening.getsockname()[:2]
    shadow = settings.decisions.shadow
    with suppress(StoreError):  # checkpoints report it
        switches = ControlStore(settings.redis_url).read()
        shadow = switches.is_on(SHADOW, time.time(), shadow)
    receivers = [route.receiver.name for route in routes(settings)]
    log.info(
        "worker_starts version=%s url=http://%s:%d roles=%s mode=%s receivers=%s",
        version("extraction-monitor"),
        host,
        port,
        ",".join(roles),
        "shadow" if shadow else "enforcing",
        ",".join(receivers) or "none",
    )


class WebService(Service):  # type: ignore[misc]
    """A web server as a service of the Faust app, in place of Faust's own, which has no bounds."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    @property
    def url(self) -> str:
        """Its address."""
        return self._server.url

    async def on_start(self) -> None:
        await self._server.start()

    async def on_stop(self) -> None:
        await self._server.stop()
