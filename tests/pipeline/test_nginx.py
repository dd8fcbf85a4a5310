from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from monitor.alerting.alerts import Action
from monitor.alerting.decisions import Decision
from monitor.identity import Identity
from monitor.store.base import Checkpoint
from monitor.store.redis import RedisStore
from pipelines.demo.embedded import free_port
from tests.support import traffic
from tests.support.programs import WebServer, Worker, program
from tests.support.servers import Redis

CONFIG = Path(__file__).parents[2] / "deploy/gateways/nginx.conf"
Ask = Callable[..., Awaitable[aiohttp.ClientResponse]]
Decide = Callable[[str, Action], None]


class Nginx(WebServer):
    """Debian's nginx with the gateway's configuration, on ports of the test."""

    page = "/"

    def __init__(self, folder: Path, llm_api: int, monitor: int, *, patient: bool) -> None:
        super().__init__(folder)
        text = CONFIG.read_text()
        if patient:  # a worker on a busy machine may take longer than in production
            text = text.replace("100ms;", "20s;").replace(" 50ms;", " 20s;")
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


class Api:
    """The LLM API behind the gateway."""

    def __init__(self) -> None:
        self.port = free_port()
        self.served: list[str] = []

    async def serve(self, request: web.Request) -> web.Response:
        self.served.append((await request.read()).decode())
        return web.json_response({"served": request.path})


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


@contextlib.asynccontextmanager
async def serving(path: str, upstream: Api | BrokenMonitor) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_route("*", path, upstream.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", upstream.port).start()
    try:
        yield
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def gateway(
    folder: Path, llm_api: int, monitor: int, *, patient: bool = True
) -> AsyncIterator[Ask]:
    """Run an nginx that asks this monitor; yield a function that sends it a request with a key."""
    nginx = Nginx(folder, llm_api, monitor, patient=patient)
    await asyncio.to_thread(nginx.start)
    async with aiohttp.ClientSession() as session:

        async def ask(key: str = "sk-1", **headers: str) -> aiohttp.ClientResponse:
            headers = headers or {"X-API-Key": key}
            url = f"{nginx.url}/v1/chat/completions"
            async with session.post(url, data="a prompt", headers=headers) as response:
                await response.read()
                return response

        try:
            yield ask
        finally:
            await asyncio.to_thread(nginx.stop)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    api = Api()
    async with serving("/{path:.*}", api):
        yield api


@pytest.fixture(scope="module")
def workers(
    kafka: str, own_redis: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[bool, Worker]]:
    """A worker in shadow mode, and one that enforces decisions; both with the same secret."""
    with contextlib.ExitStack() as stack:
        yield {
            shadow: stack.enter_context(
                Worker(
                    tmp_path_factory.mktemp("worker"),
                    kafka,
                    own_redis.url,
                    XM_IDENTITY_SECRET="known to this test only",
                    XM_DECISIONS__SHADOW=str(shadow).lower(),
                )
            )
            for shadow in (False, True)
        }


@pytest.fixture
def decide(own_redis: Redis) -> Decide:
    """Puts a decision on a key into force."""
    identity = Identity(b"known to this test only")
    store = RedisStore(own_redis.url, 100)

    def decide(key: str, action: Action) -> None:
        decision = Decision(identity.key(key), action, "a_1", time.time(), 60.0)
        store.commit(Checkpoint(decisions=[decision]))

    return decide


@pytest.fixture
async def ask(api: Api, workers: dict[bool, Worker], tmp_path: Path) -> AsyncIterator[Ask]:
    """Sends a request through a gateway that asks the worker that enforces."""
    async with gateway(tmp_path / "nginx", api.port, workers[False].port) as ask:
        api.served.clear()
        yield ask


@pytest.fixture
async def broken() -> AsyncIterator[BrokenMonitor]:
    monitor = BrokenMonitor()
    async with serving("/v1/decision", monitor):
        yield monitor


@pytest.fixture
async def ask_broken(api: Api, broken: BrokenMonitor, tmp_path: Path) -> AsyncIterator[Ask]:
    """Sends a request through a gateway whose monitor is broken."""
    async with gateway(tmp_path / "nginx", api.port, broken.port, patient=False) as ask:
        broken.asked.clear()
        api.served.clear()
        yield ask


# With a worker


async def test_allowed_request_reaches_the_api_whole(ask: Ask, api: Api) -> None:
    assert (await ask("sk-allowed")).status == 200
    assert api.served == ["a prompt"]


async def test_blocked_key_gets_403_and_does_not_reach_the_api(
    ask: Ask, api: Api, decide: Decide
) -> None:
    decide("sk-blocked", "block")
    assert (await ask("sk-blocked")).status == 403
    assert api.served == []


async def test_challenged_key_gets_401_and_a_challenge(ask: Ask, decide: Decide) -> None:
    decide("sk-challenged", "challenge")
    response = await ask("sk-challenged")
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_throttled_key_gets_429_and_retry_after(ask: Ask, decide: Decide) -> None:
    decide("sk-throttled", "throttle")
    answers = [await ask("sk-throttled") for _ in range(12)]
    statuses = [answer.status for answer in answers]
    assert 6 <= statuses.count(200) < 12  # the burst, and one more per second that this takes
    limited = next(answer for answer in answers if answer.status == 429)
    assert limited.headers["Retry-After"] == "1"


async def test_throttling_one_key_leaves_others_alone(ask: Ask, decide: Decide) -> None:
    decide("sk-throttled-too", "throttle")
    assert {(await ask("sk-throttled-too")).status for _ in range(12)} == {200, 429}
    assert (await ask("sk-other")).status == 200


async def test_client_cannot_set_its_own_decision(ask: Ask, decide: Decide) -> None:
    decide("sk-blocked", "block")
    headers = {"X-API-Key": "sk-blocked", "X-XM-Decision": "observe"}
    assert (await ask(**headers)).status == 403


async def test_shadow_mode_passes_every_request(
    api: Api, workers: dict[bool, Worker], decide: Decide, tmp_path: Path
) -> None:
    for key, action in (("sk-blocked", "block"), ("sk-throttled", "throttle")):
        decide(key, action)
    async with gateway(tmp_path / "nginx", api.port, workers[True].port) as ask:
        answers = [await ask(key) for key in ["sk-blocked"] * 2 + ["sk-throttled"] * 20]
    assert {answer.status for answer in answers} == {200}
    assert not [name for answer in answers for name in answer.headers if name.startswith("X-XM")]


# With a monitor that is broken


@pytest.mark.parametrize("status", [204, 301, 404, 429, 500, 503])
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


async def test_requests_pass_when_the_monitor_is_down(api: Api, tmp_path: Path) -> None:
    async with gateway(tmp_path / "nginx", api.port, free_port(), patient=False) as ask:
        assert (await ask()).status == 200


@pytest.mark.parametrize(
    "header", [{"X-API-Key": "sk-1"}, {"Authorization": "Bearer sk-1"}], ids=str
)
async def test_monitor_gets_the_key_and_nothing_else(
    ask_broken: Ask, broken: BrokenMonitor, header: dict[str, str]
) -> None:
    await ask_broken(**header, Cookie="session=1")
    (asked,) = broken.asked
    assert {name: asked[name] for name in asked if name not in ("Host", "Connection")} == header


# From the request to the gateway's answer


async def test_extracting_key_is_blocked_at_the_gateway(
    api: Api, workers: dict[bool, Worker], tmp_path: Path
) -> None:
    worker = workers[False]
    for minute in range(5, 0, -1):
        messages = traffic.minute(time.time() - 60 * minute)
        await asyncio.to_thread(traffic.send, worker.settings.kafka, worker.requests, messages)
    async with gateway(tmp_path / "nginx", api.port, worker.port) as ask:
        async with asyncio.timeout(60):
            while (await ask(traffic.EXTRACTING)).status != 403:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        assert (await ask(traffic.ORDINARY)).status == 200
