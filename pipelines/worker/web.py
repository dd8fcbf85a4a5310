"""The worker's pages: metrics, health, and decisions for gateways.

| page | answer |
|---|---|
| `/metrics` | Prometheus metrics |
| `/healthz` | 200 while the process works |
| `/readyz` | 200 while partitions are assigned and checkpoints are written, else 503 and why |
| `/v1/decision`, `/v1/admit` | as the decision service answers (`decide/pages/lookups.py`) |
"""

from __future__ import annotations

from aiohttp import web
from mode import Service
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from monitor.metrics import Metrics
from pipelines.decide.lookups import Lookups
from pipelines.decide.pages.lookups import LookupPages
from pipelines.web.server import Server
from pipelines.worker.watch import Watch

_RETRY_SECONDS = 5  # after which readiness may have changed


def pages(watch: Watch, lookups: Lookups, metrics: Metrics) -> web.Application:
    """The pages of a worker.

    Args:
        watch: whose health `/readyz` shows.
        lookups: answer gateways.
        metrics: what `/metrics` shows.
    """

    async def metrics_page(_: web.Request) -> web.Response:
        page = generate_latest(metrics.registry)
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        trouble = watch.trouble or (None if watch.assigned else "No partition is assigned yet.")
        if trouble is None:
            return web.Response(text="ready\n")
        retry = {"Retry-After": str(_RETRY_SECONDS)}
        return web.Response(text=f"{trouble}\n", status=503, headers=retry)

    app = web.Application()
    app.router.add_get("/metrics", metrics_page)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    LookupPages(lookups.service, lookups.guard).add_to(app)
    app.cleanup_ctx.append(lookups.run)
    return app


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
