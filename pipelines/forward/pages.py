"""The forwarder's pages: metrics and health.

| page | answer |
|---|---|
| `/metrics` | Prometheus metrics |
| `/healthz` | 200 while the process works |
| `/readyz` | 200 while Kafka gets messages, else 503 and why; requests are stored meanwhile |
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from monitor import config
from monitor.errors import ConfigError
from pipelines.forward.metrics import ForwardMetrics
from pipelines.forward.sender import Sender


@asynccontextmanager
async def serving(
    settings: config.Forward, sender: Sender, metrics: ForwardMetrics
) -> AsyncIterator[None]:
    """Serve the pages.

    Raises:
        ConfigError: the address cannot be used.
    """

    async def metrics_page(_: web.Request) -> web.Response:
        page = generate_latest(metrics.registry)
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        if sender.trouble is None:
            return web.Response(text="ready\n")
        return web.Response(text=f"{sender.trouble}\n", status=503)

    app = web.Application()
    app.router.add_get("/metrics", metrics_page)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigError(
            f"Cannot listen on {settings.host}:{settings.port} ({error.strerror}): choose another "
            "with XM_FORWARD__HOST and XM_FORWARD__PORT."
        ) from error
    try:
        yield
    finally:
        await runner.cleanup()
