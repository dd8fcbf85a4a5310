"""The worker's pages: metrics, health, and decisions for gateways.

| page | answer |
|---|---|
| `/metrics` | Prometheus metrics |
| `/healthz` | 200 while the process works |
| `/readyz` | 200 while partitions are assigned and checkpoints are written, else 503 and why |
| `/v1/decision` | 200 to let the request pass, 401 to challenge the key, 403 to block it |

A gateway sends the key in `X-API-Key` or as a bearer token. `X-XM-Decision` in the answer is the
decision. In shadow mode every request passes, and `X-XM-Shadow` is what would have been enforced.
If the store does not answer, the request passes: the monitor must not take the API down.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from monitor.alerting.alerts import Action
from monitor.alerting.decisions import Decision
from monitor.errors import StoreError, StoreUnavailableError
from monitor.identity import Identity
from monitor.metrics import Metrics
from monitor.store.base import Store
from pipelines.worker.watch import Watch

log = logging.getLogger(__name__)

UNKNOWN = "unknown"  # the label of a lookup that the store did not answer
_MOST_PENDING = 1_000  # lookups that wait for the store; a further request passes at once
_CALM = 5.0  # seconds without a failure after which lookups work again
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
        store: has the decisions.
        identity: makes pseudonyms.
        executor: threads for decision lookups only.
        metrics: what `/metrics` shows.
        shadow: whether to let every request pass.
    """
    lookup = DecisionLookup(store, executor, metrics)

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
        api_key = api_key_in(request.headers)
        if not api_key:
            return self.text("Send the API key in X-API-Key or as a bearer token.\n", status=400)
        action = await lookup(identity.key(api_key))
        if action is None:
            return self.text("unknown\n", headers={"X-XM-Decision": "observe"})
        headers: dict[str, str] = {"X-XM-Decision": "observe" if shadow else action}
        if shadow:
            headers["X-XM-Shadow"] = action
        status = 200 if shadow else _STATUS[action]
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"  # HTTP requires a challenge with every 401
        return self.text(f"{headers['X-XM-Decision']}\n", status=status, headers=headers)


class DecisionLookup:
    """Finds decisions without blocking the event loop, and never raises.

    Args:
        store: has the decisions; may be slow or down.
        executor: its threads.
        metrics: counts lookups.
    """

    def __init__(self, store: Store, executor: Executor, metrics: Metrics) -> None:
        self._store, self._executor, self._metrics = store, executor, metrics
        self._pending = 0
        self._failures = 0  # since the store last worked
        self._last_failure = 0.0  # monotonic seconds

    async def __call__(self, key: str) -> Action | None:
        """The action in force on a key; `None` if the store does not answer."""
        try:
            found = await self._find(key)
        except StoreError as error:
            self._metrics.decision_lookups.labels(UNKNOWN).inc()
            self._failures += 1
            self._last_failure = time.monotonic()
            if self._failures == 1:
                log.warning("lookups_failed reason=%r", str(error))
            return None
        action: Action = found.action if found else "observe"
        self._metrics.decision_lookups.labels(action).inc()
        if self._failures and time.monotonic() - self._last_failure >= _CALM:
            log.warning("lookups_back failed=%d", self._failures)
            self._failures = 0
        return action

    async def _find(self, key: str) -> Decision | None:
        if self._pending >= _MOST_PENDING:
            raise StoreUnavailableError(f"{self._pending} decision lookups wait for Redis.")
        self._pending += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, self._store.decision, key)
        finally:
            self._pending -= 1


def api_key_in(headers: Mapping[str, str]) -> str | None:
    """The API key in a request's headers, or `None` if there is none."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return headers.get("X-API-Key") or bearer or None
