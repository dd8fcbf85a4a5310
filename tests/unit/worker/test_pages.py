from __future__ import annotations

import time

import pytest
from aiohttp.test_utils import TestClient, TestServer

from monitor.alerting.decisions import ActiveDecision
from monitor.alerting.enforcement import Control
from monitor.config import Settings
from monitor.identity import from_settings
from monitor.metrics import Metrics
from pipelines.decide.copy import held_by
from pipelines.decide.lookups import Lookups
from pipelines.supervisor.pages import pages
from pipelines.worker.web import IDLE


class Process:
    """A process that answers as told."""

    def __init__(self, name):
        self.name, self.role = name, name.partition("-")[0]
        self.why, self.page = None, f"# TYPE xm_events counter\nxm_events_total {len(name)}\n"

    async def trouble(self):
        return self.why

    async def metrics(self):
        return self.page


@pytest.fixture
def processes():
    return [Process(name) for name in ("watch-0", "watch-1", "link-0")]


@pytest.fixture
async def client(processes):
    settings = Settings(
        identity_secret="0123456789abcdef",
        redis_url="redis://127.0.0.1:1/0",
        decisions={"shadow": False},
    )
    identity, metrics, now = from_settings(settings), Metrics(), time.time()
    lookups = Lookups(settings, metrics.registry)
    decisions = [
        ActiveDecision(identity.key(f"sk-{action}"), action, "a_1", now, 60.0, expires_at=now + 60)
        for action in ("challenge", "block")
    ]
    lookups.copy.load(held_by(decisions), Control(), "0-0")
    async with TestClient(TestServer(pages(processes, metrics.registry, lookups))) as client:
        yield client


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT"])
async def test_decision_is_answered_to_any_method(client, method):
    headers = {"Authorization": "Bearer sk-block"}
    response = await client.request(method, "/v1/decision", headers=headers, data=None)
    assert response.status == 403
    assert response.content_type == "application/problem+json"
    if method != "HEAD":
        body = await response.json()
        assert body.keys() >= {"title", "status", "decision", "reason", "until", "scope"}


async def test_every_401_has_a_challenge(client):
    for headers in ({"X-API-Key": "sk-challenge"}, {}):
        response = await client.get("/v1/decision", headers=headers)
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_key_is_read_from_the_query_and_from_repeated_headers(client):
    assert (await client.get("/v1/decision?key=sk%2Dblock")).status == 403
    repeated = [("Authorization", "Bearer junk"), ("Authorization", "Bearer sk-block")]
    assert (await client.get("/v1/decision", headers=repeated)).status == 403


async def test_readiness_says_what_is_wrong_with_a_process(client, processes):
    assert (await client.get("/readyz")).status == 200
    processes[2].why = "Redis is away."
    response = await client.get("/readyz")
    assert response.status == 503
    assert await response.text() == "Redis is away.\n"
    assert response.headers["Retry-After"]


async def test_one_of_two_processes_may_have_no_partition(client, processes):
    processes[0].why = IDLE
    assert (await client.get("/readyz")).status == 200
    processes[1].why = IDLE
    assert await (await client.get("/readyz")).text() == f"{IDLE}\n"


async def test_metrics_of_all_processes_are_on_one_page(client):
    page = await (await client.get("/metrics")).text()
    assert "xm_events_total 20.0" in page
    assert "xm_decision_lookups_total" in page
    assert (await client.get("/healthz")).status == 200


@pytest.mark.parametrize("path", ["/", "/router/", "/table/", "/graph", "/v1/decisions/feed"])
async def test_no_other_page_exists(client, path):
    assert (await client.get(path)).status == 404
