"""Gateways in Python before a model server, with the decision service and a worker.

They send the requests to Kafka themselves; a worker finds the campaign, and they follow the
decisions in the service's feed. Nothing else carries anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from pipelines.gateways.client.native import hashed_key
from tests.support.forwarder import read_topic
from tests.support.gateways import Ask, ModelServer, asking, chat, read_stream
from tests.support.programs import DecisionService, Worker
from tests.support.python_gateways import Asgi, LiteLLM, PythonGateway
from tests.support.scan import leaks
from tests.support.servers import Redis
from tests.support.sweep import REFUSED, bearer, sweep_until_refused

KINDS = {"asgi": Asgi, "litellm": LiteLLM}
Start = Callable[[str], contextlib.AbstractAsyncContextManager[tuple[PythonGateway, Ask]]]


@pytest.fixture(scope="module")
def worker(
    kafka: str, own_redis: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("worker")
    with Worker(folder, kafka, own_redis.url, XM_DECISIONS__SHADOW="false") as worker:
        yield worker


@pytest.fixture(scope="module")
def service(worker: Worker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DecisionService]:
    with DecisionService(tmp_path_factory.mktemp("service"), worker) as service:
        yield service


@pytest.fixture
def start(api: ModelServer, worker: Worker, service: DecisionService, tmp_path: Path) -> Start:
    """Starts a gateway."""

    @contextlib.asynccontextmanager
    async def start(name: str) -> AsyncIterator[tuple[PythonGateway, Ask]]:
        settings = {"XM_KAFKA": worker.settings.kafka, "XM_TOPICS__REQUESTS": worker.requests}
        gateway = KINDS[name](tmp_path / "gateway", api.port, service.port, **settings)
        async with asking(gateway) as ask:
            yield gateway, ask

    return start


@pytest.mark.parametrize("name", KINDS)
async def test_campaign_is_refused_while_an_ordinary_key_passes(
    start: Start, api: ModelServer, worker: Worker, service: DecisionService, name: str
) -> None:
    campaign = [f"sk-{name}-campaign-{n}" for n in range(3)]
    ordinary = f"sk-{name}-ordinary"
    async with start(name) as (gateway, ask):
        await sweep_until_refused(ask, campaign, ordinary)
        before = len(api.served)
        refused = [await ask(body=chat("x"), **bearer(key)) for key in campaign]
        assert {response.status for response in refused} <= REFUSED
        assert len(api.served) == before
        first, rest = await read_stream(gateway, api, bearer(ordinary))
        assert "first" in first
        assert rest.endswith("data: [DONE]\n\n")
    topic = await asyncio.to_thread(read_topic, worker.settings.kafka, worker.requests)
    events = [json.loads(record.value) for record in topic]
    [event, *_] = [each for each in events if each["api_key"] == hashed_key(ordinary)]
    assert event["messages"][-1]["content"] == "How do I fix a flat tyre?"
    assert event["output_tokens"] == 120
    secrets = [*campaign, ordinary, "step by step, then answer", "flat tyre"]
    assert leaks(secrets, worker, [gateway.log, worker.log, service.log]) == []
    assert not any(key.encode() in record.value for key in secrets[:4] for record in topic)
