"""Receivers of alerts for tests: alerts, HTTP servers that misbehave, and a clock to turn."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from monitor.alerting.alerts import Alert, Severity, State, Subject
from monitor.store.alert_book import AlertBook
from monitor.store.control import ControlStore
from pipelines.demo.embedded import free_port
from pipelines.notify.circuit import Clock
from pipelines.notify.delivery import Delivery
from pipelines.notify.incidents.ledger import Ledger
from pipelines.notify.incidents.notice import Receiver
from pipelines.notify.receivers.base import Endpoint
from pipelines.notify.receivers.slack import Slack
from pipelines.notify.receivers.webhook import Webhook
from pipelines.notify.route import Route

SECRET = "shared with the receiver"
NOW = 1_772_040_000.0


def alert(name: str, state: State = "open", severity: Severity = "critical") -> Alert:
    return Alert(
        id=f"a_{name}",
        kind="burst",
        state=state,
        severity=severity,
        score=0.97,
        subject=Subject("api_key", f"k_{name}"),
        detected_at=NOW,
        window=(NOW - 1000, NOW),
        evidence={"requests": 400.0, "ratio": 31.25},
        summary=f"Key k_{name} sends 31 times its usual rate.",
        decision="throttle",
    )


STATES = [
    alert("1", "open", "warning"),
    alert("2"),
    alert("1", "update"),
    alert("2", "resolved"),
    alert("1", "resolved"),
]


def route(receiver: Receiver, least_severity: Severity = "info", **conditions: Any) -> Route:
    return Route(receiver, least_severity, **conditions)


def metric(delivery: Delivery, name: str, **labels: str) -> float:
    return delivery.metrics.registry.get_sample_value(name, labels) or 0.0


async def delivered(delivery: Delivery, *alerts: Alert) -> None:
    """Submit alerts and wait until every receiver has accepted or rejected them."""
    await asyncio.wait_for(await delivery.submit(alerts), 30)


@contextlib.asynccontextmanager
async def serving(
    take: Callable[[web.Request], Awaitable[web.Response]], port: int, **options: Any
) -> AsyncIterator[None]:
    """An HTTP server that gives every request to `take`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, **options).start()
    try:
        yield
    finally:
        await runner.cleanup()


class Desk:
    """A receiver that records what it accepts; `answer` makes its responses.

    Attributes:
        taken: id and state of the alerts of accepted webhook requests.
        accepted: method, path and JSON of accepted requests.
        requests: time, headers and body of all.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.taken: list[str] = []
        self.accepted: list[tuple[str, str, Any]] = []
        self.requests: list[tuple[float, dict[str, str], bytes]] = []
        self.answer: Callable[[Any], Awaitable[web.Response]] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.url, timeout_seconds=0.5, secret=SECRET)

    @property
    def webhook(self) -> Webhook:
        return Webhook(self.endpoint)

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append((time.monotonic(), dict(request.headers), body))
        parsed = json.loads(body)
        answer = await self.answer(parsed) if self.answer else web.Response()
        if answer.status < 300:
            self.accepted.append((request.method, request.path_qs, parsed))
            if isinstance(parsed, dict) and "alerts" in parsed:
                alerts = msgspec.convert(parsed["alerts"], list[Alert])
                self.taken += [f"{alert.id} {alert.state}" for alert in alerts]
        return answer

    @contextlib.asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[Desk]:
        async with serving(self._take, self.port, **options):
            yield self


def in_turn(*statuses: int, headers: dict[str, str] | None = None) -> Any:
    """Answers with each status once, then with 200. Status 0 hangs."""
    left = list(statuses)

    async def answer(_: Any) -> web.Response:
        status = left.pop(0) if left else 200
        if not status:
            await asyncio.sleep(3)
            status = 500
        return web.Response(status=status, headers=headers if status == 429 else None)

    return answer


def refuses(name: str) -> Any:
    """Answers 404 to what has a name in it, and 200 to everything else."""

    async def answer(body: Any) -> web.Response:
        return web.Response(status=404 if name in json.dumps(body) else 200)

    return answer


class TurnedClock(Clock):
    """A clock that stands still until a test turns it."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._count = 0

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self._count += 1
        wake = asyncio.Event()
        heapq.heappush(self._sleepers, (self._now + seconds, self._count, wake))
        await wake.wait()

    async def turn(self, seconds: float) -> None:
        """Let time pass in one step, and wake who sleeps until then."""
        self._now += seconds
        while self._sleepers and self._sleepers[0][0] <= self._now:
            heapq.heappop(self._sleepers)[2].set()
        await asyncio.sleep(0.002)

    async def turn_until(self, condition: Callable[[], object], step: float) -> None:
        """Let time pass in steps until a condition is true."""
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline
            await self.turn(step)
            await asyncio.sleep(0.02)  # real input and output of those who woke


def ledger(redis_url: str) -> Ledger:
    """The ledger of a worker that starts."""
    return Ledger(AlertBook(redis_url), ControlStore(redis_url))


def one_by_one(desk: Desk) -> Slack:
    return Slack(Endpoint(desk.url, 0.5))


def titles(desk: Desk) -> list[str]:
    return [body["text"] for _, _, body in desk.accepted]


EXPECTED = [
    "[warning] burst k_1 opened",
    "[critical] burst k_2 opened",
    "[critical] burst k_1 more severe",
    "[critical] burst k_2 resolved",
    "[critical] burst k_1 resolved",
]
