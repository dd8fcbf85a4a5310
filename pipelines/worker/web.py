"""The worker's own pages: metrics, health, and what gateways ask before they let a request pass.

| page | answer |
|---|---|
| `/metrics` | Prometheus metrics |
| `/healthz` | 200 while the process works |
| `/readyz` | 200 while partitions are assigned and checkpoints are written, else 503 and why |
| `/v1/decision` | 200 to let the key pass, 401 to challenge it, 403 to block it |

A gateway names the key in `X-API-Key` or as a bearer token. The answer says the decision in
`X-XM-Decision`. In shadow mode it always lets pass and says in `X-XM-Shadow` what it would have
been. When the store is away the answer is to let pass: a monitor must not take the API down.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from monitor.alerting.alerts import Action
from monitor.errors import StoreError
from monitor.identity import Identity
from monitor.metrics import Metrics
from monitor.store.base import Store
from pipelines.worker.watch import Watch

log = logging.getLogger(__name__)

_STATUS: dict[Action, int] = {"observe": 200, "throttle": 200, "challenge": 401, "block": 403}


def add_pages(
    app: Any,
    watch: Watch,
    store: Store,
    identity: Identity,
    *,
    executor: Executor,
    metrics: Metrics,
    shadow: bool,
) -> None:
    """Serve the pages on the app's web port.

    Args:
        app: the Faust app.
        watch: whose health `/readyz` shows.
        store: where decisions are looked up.
        identity: makes pseudonyms.
        executor: threads that look up decisions, and do nothing else.
        metrics: what `/metrics` shows.
        shadow: whether to let every request pass.
    """

    @app.page("/metrics")  # type: ignore[untyped-decorator]
    async def metrics_page(self: Any, _request: Any) -> Any:
        page = generate_latest(metrics.registry)
        return self.bytes(page, headers={"Content-Type": CONTENT_TYPE_LATEST})

    @app.page("/healthz")  # type: ignore[untyped-decorator]
    async def healthz(self: Any, _request: Any) -> Any:
        return self.text("ok\n")

    @app.page("/readyz")  # type: ignore[untyped-decorator]
    async def readyz(self: Any, _request: Any) -> Any:
        trouble = watch.trouble or (None if watch.assigned else "No partition is assigned yet.")
        return self.text(f"{trouble or 'ready'}\n", status=503 if trouble else 200)

    @app.page("/v1/decision")  # type: ignore[untyped-decorator]
    async def decision(self: Any, request: Any) -> Any:
        api_key = named_key(request.headers)
        if not api_key:
            return self.text("Name the key in X-API-Key or as a bearer token.\n", status=400)
        try:
            key = identity.key(api_key)
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(executor, store.decision, key)
        except StoreError as error:
            log.warning("decision_unknown reason=%r", str(error))
            return self.text("unknown\n", headers={"X-XM-Decision": "observe"})
        action: Action = found.action if found else "observe"
        metrics.decision_lookups.labels(action).inc()
        headers = {"X-XM-Decision": "observe" if shadow else action}
        if shadow:
            headers["X-XM-Shadow"] = action
        status = 200 if shadow else _STATUS[action]
        return self.text(f"{headers['X-XM-Decision']}\n", status=status, headers=headers)


def named_key(headers: Mapping[str, str]) -> str | None:
    """The API key in a request's headers, or `None`."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return headers.get("X-API-Key") or bearer or None
