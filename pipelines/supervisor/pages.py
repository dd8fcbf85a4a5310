"""The pages of several processes, on one web port.

| page | answer |
|---|---|
| `/metrics` | Prometheus metrics of all processes |
| `/healthz` | 200 while the supervisor works |
| `/readyz` | 200 while all processes do their work, else 503 and why |
| `/v1/decision`, `/v1/admit` | with the role `decide`: as the decision service answers |
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from pipelines.decide.lookups import Lookups
from pipelines.decide.pages.lookups import LookupPages
from pipelines.supervisor.child import Child
from pipelines.supervisor.metrics import merged
from pipelines.worker.web import IDLE, healthz, metrics_answer, readiness


def pages(
    children: Sequence[Child], registry: CollectorRegistry, lookups: Lookups | None
) -> web.Application:
    """The pages of several processes.

    Args:
        children: the processes.
        registry: metrics of this process.
        lookups: answer gateways; `None` without the role `decide`.
    """

    async def metrics(_: web.Request) -> web.Response:
        own = {"supervisor": generate_latest(registry).decode()}
        texts = await asyncio.gather(*(child.metrics() for child in children))
        named = dict(zip((child.name for child in children), texts, strict=True))
        return metrics_answer(await asyncio.to_thread(merged, own | named))

    async def readyz(_: web.Request) -> web.Response:
        return readiness(await _trouble(children))

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    if lookups is not None:
        LookupPages(lookups.service, lookups.guard).add_to(app)
        app.cleanup_ctx.append(lookups.run)
    return app


async def _trouble(children: Sequence[Child]) -> str | None:
    """Why the processes are not ready; `None` if they are.

    Of the processes with one role, some may have no partition, but not all.
    """
    troubles = await asyncio.gather(*(child.trouble() for child in children))
    serious = next((each for each in troubles if each not in (None, IDLE)), None)
    idle = Counter(
        child.role for child, each in zip(children, troubles, strict=True) if each == IDLE
    )
    of_role = Counter(child.role for child in children)
    return serious or (IDLE if any(idle[role] == of_role[role] for role in of_role) else None)
