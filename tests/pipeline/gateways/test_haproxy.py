"""HAProxy with its shipped configuration, before a model server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from monitor.alerting.alerts import Action
from monitor.requests.decoder import Decoder
from tests.support.decide import SECRET, Decide
from tests.support.gateways import (
    Ask,
    Haproxy,
    ModelServer,
    answered,
    ask_with_two_keys,
    asking,
    chat,
)
from tests.support.programs import DecisionService, Worker
from tests.support.servers import Redis
from tests.support.sweep import bearer

SETTINGS = {"XM_IDENTITY_SECRET": SECRET, "XM_DECISIONS__SHADOW": "false"}


@pytest.fixture(scope="module")
def serve(own_redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DecisionService]:
    worker = Worker(tmp_path_factory.mktemp("worker"), "127.0.0.1:9", own_redis.url, **SETTINGS)
    with DecisionService(tmp_path_factory.mktemp("serve"), worker) as serve:
        yield serve


@pytest.fixture
def gateway(api: ModelServer, serve: DecisionService, tmp_path: Path) -> Haproxy:
    return Haproxy(tmp_path / "haproxy", api.port, serve.port)


@pytest.fixture
async def ask(gateway: Haproxy, api: ModelServer) -> AsyncIterator[Ask]:
    async with asking(gateway) as ask:
        api.served.clear()
        api.headers.clear()
        yield ask


@pytest.mark.parametrize(("action", "status"), [("block", 403), ("challenge", 401)])
async def test_refused_key_gets_the_answer_of_the_monitor(
    ask: Ask, api: ModelServer, decide: Decide, action: Action, status: int
) -> None:
    decide(f"sk-{action}", action)
    await answered(ask, bearer(f"sk-{action}"), status)
    api.served.clear()
    response = await ask(**bearer(f"sk-{action}"))
    assert response.content_type == "application/problem+json"
    assert ("WWW-Authenticate" in response.headers) == (status == 401)
    assert api.served == []


async def test_throttled_key_gets_its_rate(ask: Ask, decide: Decide) -> None:
    decide("sk-slow", "throttle", rate=2.0)
    await answered(ask, bearer("sk-slow"), 429)
    assert 1 <= int((await ask(**bearer("sk-slow"))).headers["Retry-After"]) <= 30
    assert (await ask(**bearer("sk-other"))).status == 200


async def test_marked_key_has_its_mark(ask: Ask, api: ModelServer, decide: Decide) -> None:
    decide("sk-marked", "mark", mark="m_1")
    async with asyncio.timeout(60):
        while (await ask(**bearer("sk-marked"))).headers.get("X-XM-Mark") != "m_1":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert api.headers[-1]["X-XM-Mark"] == "m_1"


async def test_request_with_two_keys_is_refused(
    ask: Ask, gateway: Haproxy, api: ModelServer
) -> None:
    assert await ask_with_two_keys(gateway) == 400
    assert api.served == []


async def test_api_gets_one_key_and_nothing_of_ours(ask: Ask, api: ModelServer) -> None:
    headers = {
        "X-API-Key": "sk-2",
        "X_API_Key": "sk-3",
        "X-XM-Account": "victim",
        "X-XM-Mark": "m_2",
    }
    assert (await ask(**bearer("sk-1"), **headers)).status == 200
    assert api.headers[0]["Authorization"] == "Bearer sk-1"
    assert not {"x-api-key", "x_api_key", "x-xm-account", "x-xm-mark"} & {
        n.lower() for n in api.headers[0]
    }


async def test_log_is_read_with_the_preset_for_nginx(ask: Ask, gateway: Haproxy) -> None:
    prompt = 'Say "grüezi" in\n日本語 \\ now'
    assert (await ask(body=chat(prompt), **bearer("sk-1"))).status == 200
    async with asyncio.timeout(60):
        while "sk-1" not in gateway.requests.read_text():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    (line,) = [each for each in gateway.requests.read_bytes().splitlines() if b"sk-1" in each]
    (event,) = Decoder("nginx").decode([line], time.time() + 1).events
    assert (event.api_key, event.prompt, event.ip) == ("sk-1", prompt, "127.0.0.1")
    assert abs(event.ts - time.time()) < 600
    assert json.loads(line)["status"] == "200"


async def test_requests_pass_while_the_monitor_hangs_and_recover(
    gateway: Haproxy, serve: DecisionService, decide: Decide
) -> None:
    decide("sk-hang", "block")
    gateway.patient = False
    async with asking(gateway) as ask:
        await answered(ask, bearer("sk-hang"), 403)
        serve.pause()
        try:
            async with asyncio.timeout(30):
                assert (await ask(**bearer("sk-hang"))).status == 200
        finally:
            serve.resume()
        await answered(ask, bearer("sk-hang"), 403)


@pytest.mark.parametrize(("closed", "status"), [("false", 200), ("true", 503)])
async def test_gateway_does_as_configured_while_the_monitor_is_away(
    gateway: Haproxy, closed: str, status: int
) -> None:
    gateway.monitor = 9  # nothing listens there
    gateway.changes = {"local closed = false": f"local closed = {closed}"}
    async with asking(gateway) as ask:
        assert (await ask(**bearer("sk-1"))).status == status
        assert (await ask(method="OPTIONS", Origin="https://example.org")).status == 200
