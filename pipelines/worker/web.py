"""The worker's pages: metrics, health, and decisions for gateways.

| page | answer |
|---|---|
| `/metrics` | Prometheus metrics |
| `/healthz` | 200 while the process works |
| `/readyz` | 200 while partitions are assigned and checkpoints are written, else 503 and why |
| `/v1/decision` | 200 to let the request pass, 401 to challenge the key, 403 to block it |

Decisions are answered to any method: a gateway may forward that of the client. Status, headers and
body are those of `gateways/answers.py`. If the store does not answer, the request passes: the
monitor must not take the API down.
"""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from monitor.metrics import Metrics
from pipelines.gateways.service import DecisionService
from pipelines.worker.watch import Watch

_RETRY_SECONDS = 5  # after which readiness may have changed


def pages(watch: Watch, service: DecisionService, metrics: Metrics) -> web.Application:
    """The pages of a worker.

    Args:
        watch: whose health `/readyz` shows.
        service: answers gateways.
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

    async def decision(request: web.Request) -> web.Response:
        answer = await service.answer(request.headers.items(), request.rel_url.raw_query_string)
        return web.json_response(answer.body, status=answer.status, headers=answer.headers)

    async def close(_: web.Application) -> None:
        await service.close()

    app = web.Application()
    app.on_cleanup.append(close)
    app.router.add_get("/metrics", metrics_page)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_route("*", "/v1/decision", decision)
    return app
