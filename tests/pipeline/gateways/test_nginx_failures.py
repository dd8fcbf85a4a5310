"""nginx before a monitor that fails, hangs, or gives answers that no worker gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pipelines.demo.embedded import free_port
from tests.support.gateways import Ask, ModelServer, Nginx, asking, serving


class BrokenMonitor:
    """Replaces the monitor: gives answers that no worker gives, and records the requests."""

    def __init__(self) -> None:
        self.port = free_port()
        self.answer: Callable[[], Any] = web.Response
        self.asked: list[dict[str, str]] = []

    async def serve(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.headers))
        answer = self.answer()
        return await answer if asyncio.iscoroutine(answer) else answer


@pytest.fixture
async def broken() -> AsyncIterator[BrokenMonitor]:
    monitor = BrokenMonitor()
    async with serving("/v1/decision", monitor):
        yield monitor


@pytest.fixture
async def ask_broken(api: ModelServer, broken: BrokenMonitor, tmp_path: Path) -> AsyncIterator[Ask]:
    """Sends a request through a gateway whose monitor is broken."""
    async with asking(Nginx(tmp_path / "nginx", api.port, broken.port, patient=False)) as ask:
        broken.asked.clear()
        api.served.clear()
        yield ask


@pytest.fixture
async def ask_patiently(
    api: ModelServer, broken: BrokenMonitor, tmp_path: Path
) -> AsyncIterator[Ask]:
    """Sends a request through a gateway that waits for its monitor."""
    async with asking(Nginx(tmp_path / "nginx", api.port, broken.port)) as ask:
        broken.asked.clear()
        api.served.clear()
        yield ask


@pytest.mark.parametrize(
    ("rate", "seconds"), [("0.4", 60), ("2", 30), ("9.9", 12), ("12.5", 6), ("60", 2), ("1200", 1)]
)
async def test_throttle_has_the_rate_of_the_decision(
    ask_patiently: Ask, broken: BrokenMonitor, rate: str, seconds: int
) -> None:
    headers = {"X-XM-Decision": "throttle", "X-XM-Rate": rate, "Cache-Control": "max-age=60"}
    broken.answer = lambda: web.Response(headers=headers)
    answers = await asyncio.gather(*(ask_patiently() for _ in range(300)))
    limited = next(answer for answer in answers if answer.status == 429)
    assert limited.headers["Retry-After"] == str(seconds)
    assert limited.content_type == "application/problem+json"


async def test_mark_is_sent_to_the_api_and_is_on_the_response(
    ask_patiently: Ask, broken: BrokenMonitor, api: ModelServer
) -> None:
    broken.answer = lambda: web.Response(headers={"X-XM-Decision": "mark", "X-XM-Mark": "m_1"})
    response = await ask_patiently(**{"X-API-Key": "sk-1", "X-XM-Mark": "m_2"})
    assert response.status == 200
    assert api.headers[-1]["X-XM-Mark"] == "m_1"
    assert response.headers["X-XM-Mark"] == "m_1"


@pytest.mark.parametrize("status", [204, 301, 404, 429, 500, 503, 511])
async def test_requests_pass_when_the_monitor_answers_nonsense(
    ask_broken: Ask, broken: BrokenMonitor, status: int
) -> None:
    broken.answer = lambda: web.Response(status=status)
    assert (await ask_broken()).status == 200


async def test_requests_pass_when_the_monitor_hangs(ask_broken: Ask, broken: BrokenMonitor) -> None:
    async def hang() -> web.Response:
        await asyncio.sleep(30)
        return web.Response(status=403)

    broken.answer = hang
    async with asyncio.timeout(15):
        assert (await ask_broken()).status == 200


async def test_requests_pass_when_the_monitor_is_down(api: ModelServer, tmp_path: Path) -> None:
    async with asking(Nginx(tmp_path / "nginx", api.port, free_port(), patient=False)) as ask:
        assert (await ask()).status == 200


async def test_requests_are_refused_when_the_monitor_fails_closed(
    ask_patiently: Ask, broken: BrokenMonitor, api: ModelServer
) -> None:
    broken.answer = lambda: web.Response(status=503, headers={"X-XM-Decision": "block"})
    response = await ask_patiently()
    assert (response.status, response.headers["Retry-After"]) == (503, "5")
    assert api.served == []


async def test_gateway_that_fails_closed_refuses_while_the_monitor_is_down(
    api: ModelServer, broken: BrokenMonitor, tmp_path: Path
) -> None:
    nginx = Nginx(tmp_path / "nginx", api.port, broken.port)
    nginx.changes = {"default open;": "default closed;"}
    lasting = {"X-XM-Decision": "block", "Cache-Control": "max-age=1, stale-if-error=60"}
    async with asking(nginx) as ask:
        broken.answer = lambda: web.Response(status=403, headers=lasting)
        assert (await ask("sk-blocked")).status == 403
        broken.answer = lambda: web.Response(status=500)
        assert (await ask("sk-2")).status == 503
        await asyncio.sleep(2.1)  # nginx counts whole seconds: the cached answer is over by now
        assert (await ask("sk-blocked")).status == 403
        broken.answer = web.Response
        async with asyncio.timeout(60):
            while (await ask("sk-2")).status != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    "header", [{"X-API-Key": "sk-1"}, {"Authorization": "Bearer sk-1"}], ids=str
)
async def test_monitor_gets_the_key_and_nothing_else(
    ask_patiently: Ask, broken: BrokenMonitor, header: dict[str, str]
) -> None:
    await ask_patiently(**header, Cookie="session=1")
    (asked,) = broken.asked
    assert {name: asked[name] for name in asked if name not in ("Host", "Connection")} == header
