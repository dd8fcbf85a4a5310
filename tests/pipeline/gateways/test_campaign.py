"""Gateways before a model server: a campaign is refused, and ordinary keys pass.

A gateway logs its requests. `xm forward` sends them to Kafka, a worker finds the campaign, and the
gateway gets the decisions. Nothing else carries anything.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.support.forwarder import Forwarder
from tests.support.gateways import (
    Ask,
    Gateway,
    Haproxy,
    ModelServer,
    Nginx,
    RedisLua,
    asking,
    chat,
    read_stream,
)
from tests.support.programs import DecisionService, Worker
from tests.support.servers import Redis
from tests.support.sweep import REFUSED, bearer, sweep_until_refused

SECRET = "known to this test only"
Start = Callable[[str], contextlib.AbstractAsyncContextManager[tuple[Gateway, Ask]]]


@pytest.fixture(scope="module")
def worker(
    kafka: str, own_redis: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    chosen = {
        "XM_IDENTITY_SECRET": SECRET,
        "XM_DECISIONS__SHADOW": "false",
        "XM_MAPPING": "nginx",
    }
    with Worker(tmp_path_factory.mktemp("worker"), kafka, own_redis.url, **chosen) as worker:
        yield worker


@pytest.fixture(scope="module")
def serve(worker: Worker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DecisionService]:
    with DecisionService(tmp_path_factory.mktemp("serve"), worker) as serve:
        yield serve


@pytest.fixture
def start(
    api: ModelServer, worker: Worker, serve: DecisionService, own_redis: Redis, tmp_path: Path
) -> Start:
    """Starts a gateway, and a forwarder that follows its log."""

    @contextlib.asynccontextmanager
    async def start(name: str) -> AsyncIterator[tuple[Gateway, Ask]]:
        folder = tmp_path / "gateway"
        gateway: Gateway
        if name == "redis-lua":
            gateway = RedisLua(folder, api.port, own_redis.port, SECRET)
        else:
            kind = {"nginx": Nginx, "haproxy": Haproxy}[name]
            gateway = kind(folder, api.port, serve.port)
        forwarder = Forwarder(
            tmp_path / "forwarder",
            worker.settings.kafka,
            worker.requests,
            gateway.requests,
            XM_MAPPING="nginx",
        )
        async with asking(gateway) as ask:
            await asyncio.to_thread(forwarder.start)
            try:
                yield gateway, ask
            finally:
                await asyncio.to_thread(forwarder.stop)

    return start


@pytest.mark.parametrize("name", ["nginx", "haproxy", "redis-lua"])
async def test_campaign_is_refused_while_an_ordinary_key_passes(
    start: Start, api: ModelServer, name: str
) -> None:
    campaign = [f"sk-{name}-campaign-{n}" for n in range(3)]
    ordinary = f"sk-{name}-ordinary"
    async with start(name) as (gateway, ask):
        await sweep_until_refused(ask, campaign, ordinary)
        before = len(api.served)
        statuses = {(await ask(body=chat("x"), **bearer(key))).status for key in campaign}
        assert statuses <= REFUSED
        assert len(api.served) == before
        first, rest = await read_stream(gateway, api, bearer(ordinary))
        assert "first" in first
        assert rest.endswith("data: [DONE]\n\n")
