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

from monitor.identity import from_settings
from monitor.store.control import ControlStore
from tests.support import traffic
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
from tests.support.scan import leaks, written_topics
from tests.support.servers import Redis
from tests.support.sweep import REFUSED, bearer, sweep_until_refused
from tests.support.workers import read_topic, until

SECRET = "known to this test only"
ADDRESS = "127.0.13.77"  # of the client
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


@pytest.fixture(scope="module")
def logs(worker: Worker, serve: DecisionService) -> list[Path]:
    """The logs of the monitor's programs."""
    return [worker.log, serve.log]


@pytest.fixture
def start(
    api: ModelServer,
    worker: Worker,
    serve: DecisionService,
    own_redis: Redis,
    logs: list[Path],
    tmp_path: Path,
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
        async with asking(gateway, ADDRESS) as ask:
            await asyncio.to_thread(forwarder.start)
            try:
                yield gateway, ask
            finally:
                await asyncio.to_thread(forwarder.stop)
                logs.append(forwarder.log)

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


def test_no_key_prompt_or_address_is_stored(
    worker: Worker, logs: list[Path], own_redis: Redis
) -> None:
    """After all campaigns, a decision by hand and messages that cannot be read."""
    settings = worker.settings
    control = ControlStore(own_redis.url)
    control.decide(from_settings(settings).key("sk-by-hand"), "block", 60.0, "ann", "test")
    unreadable = [b'{"msec": "sk-unreadable', b'{"api_key": "sk-timeless", "prompt": "chain of"}']
    traffic.send(settings.kafka, worker.requests, unreadable)
    rejected = settings.topics.rejected
    until(lambda: len(read_topic(worker, rejected)) >= len(unreadable), what=rejected)
    for topic in written_topics(worker):
        until(lambda topic=topic: read_topic(worker, topic), what=topic)
    assert len(logs) == 5
    secrets = ["sk-", "chain of", "flat tyre", ADDRESS]
    assert leaks(secrets, worker, logs) == []
