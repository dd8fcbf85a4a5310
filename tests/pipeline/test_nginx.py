from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from pipelines.demo.embedded import free_port
from tests.support import traffic
from tests.support.programs import WebServer, Worker, program

CONFIG = Path(__file__).parents[2] / "deploy/gateways/nginx.conf"
Ask = Callable[..., Awaitable[aiohttp.ClientResponse]]


class Nginx(WebServer):
    """Debian's nginx with the gateway's configuration, on ports of the test."""

    page = "/"

    def __init__(self, folder: Path, llm_api: int, monitor: int) -> None:
        super().__init__(folder)
        text = CONFIG.read_text()
        for shipped, here in {"8080": self.port, "8000": llm_api, "6066": monitor}.items():
            assert text.count(f"127.0.0.1:{shipped};") == 1
            text = text.replace(f"127.0.0.1:{shipped};", f"127.0.0.1:{here};")
        folders = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        private = "".join(f"{name}_temp_path {folder}/{name};\n" for name in folders)
        self.config = folder / "nginx.conf"
        self.config.write_text(text.replace("http {", f"http {{\naccess_log off;\n{private}"))

    def command(self) -> list[str]:
        own = f"daemon off; pid {self.folder}/pid; error_log stderr;"
        return [program("nginx"), "-c", str(self.config), "-g", own]


class Upstreams:
    """The API behind the gateway, and in the monitor's place what answers `decision`."""

    def __init__(self) -> None:
        self.llm_api, self.monitor = free_port(), free_port()
        self.decision: Callable[[], Any] = web.Response
        self.runners: list[web.AppRunner] = []
        self.asked: list[dict[str, str]] = []
        self.served: list[str] = []

    async def serve(self, request: web.Request) -> web.Response:
        self.served.append((await request.read()).decode())
        return web.json_response({"served": request.path})

    async def decide(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.headers))
        answer = self.decision()
        return await answer if asyncio.iscoroutine(answer) else answer

    async def start(self, path: str, handler: Any, port: int) -> None:
        app = web.Application()
        app.router.add_route("*", path, handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        self.runners.append(runner)


@pytest.fixture
async def upstreams() -> AsyncIterator[Upstreams]:
    both = Upstreams()
    await both.start("/{path:.*}", both.serve, both.llm_api)
    await both.start("/v1/decision", both.decide, both.monitor)
    yield both
    for runner in both.runners:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def gateway(folder: Path, llm_api: int, monitor: int) -> AsyncIterator[Ask]:
    """What sends a request with a key through an nginx that asks this monitor."""
    nginx = Nginx(folder, llm_api, monitor)
    await asyncio.to_thread(nginx.start)
    async with aiohttp.ClientSession() as session:

        async def ask(key: str = "sk-1", **headers: str) -> aiohttp.ClientResponse:
            headers = headers or {"X-API-Key": key}
            url = f"{nginx.url}/v1/chat/completions"
            async with session.post(url, data="a prompt", headers=headers) as response:
                await response.read()
                return response

        yield ask
    await asyncio.to_thread(nginx.stop)


@pytest.fixture
async def ask(upstreams: Upstreams, tmp_path: Path) -> AsyncIterator[Ask]:
    """Sends a request with a key through the gateway."""
    async with gateway(tmp_path / "nginx", upstreams.llm_api, upstreams.monitor) as ask:
        upstreams.asked.clear()
        upstreams.served.clear()
        yield ask


def deciding(status: int, **headers: str) -> Callable[[], web.Response]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: web.Response(status=status, headers=named)


async def test_an_allowed_request_reaches_the_api_whole(ask: Ask, upstreams: Upstreams):
    upstreams.decision = deciding(200, X_XM_Decision="observe")
    assert (await ask()).status == 200
    assert upstreams.served == ["a prompt"]


async def test_a_blocked_key_gets_403_and_the_api_does_not_hear_of_it(
    ask: Ask, upstreams: Upstreams
):
    upstreams.decision = deciding(403, X_XM_Decision="block")
    assert (await ask()).status == 403
    assert upstreams.served == []


async def test_a_challenged_key_gets_401_and_is_told_how_to_answer(ask: Ask, upstreams: Upstreams):
    upstreams.decision = deciding(401, X_XM_Decision="challenge", WWW_Authenticate="Bearer")
    response = await ask()
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_a_throttled_key_is_slowed_and_told_when_to_come_back(ask: Ask, upstreams: Upstreams):
    upstreams.decision = deciding(200, X_XM_Decision="throttle")
    answers = [await ask() for _ in range(12)]
    statuses = [answer.status for answer in answers]
    assert statuses.count(200) in (6, 7)  # the burst, and perhaps one more second
    assert statuses[-1] == 429
    assert answers[-1].headers["Retry-After"] == "1"


async def test_throttling_one_key_leaves_the_others_alone(ask: Ask, upstreams: Upstreams):
    upstreams.decision = deciding(200, X_XM_Decision="throttle")
    assert {(await ask("sk-1")).status for _ in range(12)} == {200, 429}
    assert (await ask("sk-2")).status == 200


async def test_requests_are_not_limited_unless_throttled(ask: Ask, upstreams: Upstreams):
    upstreams.decision = deciding(200, X_XM_Decision="observe", X_XM_Shadow="throttle")
    assert {(await ask()).status for _ in range(30)} == {200}


@pytest.mark.parametrize("status", [204, 301, 404, 429, 500, 503])
async def test_requests_pass_when_the_monitor_answers_nonsense(
    ask: Ask, upstreams: Upstreams, status: int
):
    upstreams.decision = deciding(status)
    assert (await ask()).status == 200


async def test_requests_pass_when_the_monitor_hangs(ask: Ask, upstreams: Upstreams):
    async def hang() -> web.Response:
        await asyncio.sleep(5)
        return web.Response(status=403)

    upstreams.decision = hang
    begin = asyncio.get_running_loop().time()
    assert (await ask()).status == 200
    assert asyncio.get_running_loop().time() - begin < 1


async def test_requests_pass_when_the_monitor_is_down(ask: Ask, upstreams: Upstreams):
    await upstreams.runners.pop().cleanup()
    assert (await ask()).status == 200


@pytest.mark.parametrize(
    "header", [{"X-API-Key": "sk-1"}, {"Authorization": "Bearer sk-1"}], ids=str
)
async def test_the_monitor_sees_the_key_and_nothing_else_of_a_request(
    ask: Ask, upstreams: Upstreams, header: dict[str, str]
):
    await ask(**header, Cookie="session=1")
    (asked,) = upstreams.asked
    assert {name: asked[name] for name in asked if name not in ("Host", "Connection")} == header


async def test_a_client_cannot_decide_for_itself(ask: Ask, upstreams: Upstreams):
    upstreams.decision = deciding(403, X_XM_Decision="block")
    headers = {"X-API-Key": "sk-1", "X-XM-Decision": "observe"}
    assert (await ask(**headers)).status == 403


async def test_a_client_does_not_see_what_the_monitor_thinks(ask: Ask, upstreams: Upstreams):
    upstreams.decision = deciding(200, X_XM_Decision="observe", X_XM_Shadow="block")
    assert not [name for name in (await ask()).headers if name.startswith("X-XM")]


@pytest.mark.parametrize(("shadow", "answer"), [("false", 403), ("true", 200)])
async def test_a_key_that_extracts_is_blocked_at_the_gateway_unless_in_shadow_mode(
    upstreams: Upstreams, kafka: str, redis_url: str, tmp_path: Path, shadow: str, answer: int
):
    worker = Worker(tmp_path / "worker", kafka, redis_url, XM_DECISIONS__SHADOW=shadow)
    await asyncio.to_thread(worker.start)
    try:
        for minute in range(5, 0, -1):
            messages = traffic.minute(time.time() - 60 * minute)
            await asyncio.to_thread(traffic.send, kafka, worker.requests, messages)
        async with gateway(tmp_path / "nginx", upstreams.llm_api, worker.port) as ask:
            async with asyncio.timeout(20):
                while await decision_on(worker, traffic.EXTRACTING) != "block":  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            assert (await ask(traffic.EXTRACTING)).status == answer
            assert (await ask(traffic.ORDINARY)).status == 200
    finally:
        await asyncio.to_thread(worker.stop)


async def decision_on(worker: Worker, key: str) -> str:
    """What the worker has decided, whether it enforces it or not."""
    async with (
        aiohttp.ClientSession(headers={"X-API-Key": key}) as session,
        session.get(f"{worker.url}/v1/decision") as response,
    ):
        return response.headers.get("X-XM-Shadow") or response.headers["X-XM-Decision"]
