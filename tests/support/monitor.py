"""A monitor for clients of its decisions, which fails as the test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import web

from pipelines.demo.embedded import free_port


class FakeMonitor:
    """Speaks the look-up and the feed of `xm serve`. Change `state` with `set`.

    Attributes:
        looked_up: items of all look-ups.
        calls: number of look-ups.
        resumed: the Last-Event-ID of each feed.
        failure: what a look-up does instead of answering.
        known: whether its own decisions are up to date.
        feeds: whether feeds are answered.
        complete: whether feeds say that their state is complete.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.state: dict[str, dict[str, Any]] = {}
        self.shadow = False
        self.looked_up: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.calls = 0
        self.resumed: list[str | None] = []
        self.failure: str | None = None
        self.known = True
        self.feeds = True
        self.complete = True
        self.position = 1
        self._clients: set[asyncio.Queue[str]] = set()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def set(self, subject: str, decision: str, **more: Any) -> None:
        """Put a decision into force, or end it with `observe`."""
        applied = {"subject": subject, "decision": decision, **more}
        self.state[subject] = applied
        if decision == "observe":
            del self.state[subject]
        self.position += 1
        for client in self._clients:
            client.put_nowait(self._event("decision", applied))

    def go_stale(self) -> None:
        """Say that its own decisions are no longer up to date."""
        self.known = False
        for client in self._clients:
            client.put_nowait(self._event("stale", {}))

    def cut(self) -> None:
        """End all feeds."""
        for client in self._clients:
            client.put_nowait("")

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/decisions", self._look_up)
        app.router.add_get("/v1/decisions/feed", self._feed)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            self.cut()
            await self._runner.cleanup()
            self._runner = None

    async def _look_up(self, request: web.Request) -> web.Response:
        self.calls += 1
        self.headers.append(dict(request.headers))
        match self.failure:
            case "hang":
                await asyncio.sleep(3600)
            case "status":
                return web.Response(status=500)
            case "garbage":
                return web.Response(body=b'{"items": [{"decision": "explode"}]}')
            case "short":
                return web.json_response({"items": []})
        items = (await request.json())["items"]
        if any(len(item.get("key", "")) > 4096 or item.get("key") == "rejected" for item in items):
            return web.Response(status=400)
        self.looked_up += items
        return web.json_response({"items": [self._answer(item) for item in items]})

    def _answer(self, item: dict[str, str]) -> dict[str, Any]:
        named = {"k": item.get("key"), "a": item.get("account"), "u": item.get("end_user")}
        subjects = [f"{kind}_{name}" for kind, name in named.items() if name]
        found = next((self.state[each] for each in subjects if each in self.state), None)
        return (found or {"subject": None, "decision": "observe"}) | {
            "subjects": subjects,
            "known": self.known,
        }

    async def _feed(self, request: web.Request) -> web.StreamResponse:
        last = request.headers.get("Last-Event-ID")
        self.resumed.append(last)
        if not self.feeds:
            return web.Response(status=503)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        client: asyncio.Queue[str] = asyncio.Queue()
        self._clients.add(client)
        events = [self._event("reset", {})] if last is None else []
        if last is None:
            events += [self._event("decision", each) for each in self.state.values()]
        if self.complete:
            events.append(self._event("ready", {"shadow": self.shadow}))
        with suppress(ConnectionError):
            await response.write("".join(events).encode())
            while event := await client.get():
                await response.write(event.encode())
        self._clients.discard(client)
        return response

    def _event(self, name: str, data: dict[str, Any]) -> str:
        return f"id: {self.position}-0\nevent: {name}\ndata: {json.dumps(data)}\n\n"


@asynccontextmanager
async def running_monitor() -> AsyncIterator[FakeMonitor]:
    """A monitor on a port of its own."""
    monitor = FakeMonitor()
    await monitor.start()
    try:
        yield monitor
    finally:
        await monitor.stop()
