"""The client of decisions with the real decision service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from monitor import config
from monitor.identity import from_settings
from monitor.store.control import ControlStore
from pipelines.gateways.client.client import DecisionClient, Verdict
from pipelines.gateways.client.metrics import ClientMetrics
from pipelines.gateways.client.native import hashed_key
from pipelines.web.tokens import new_token
from tests.support.apps import until
from tests.support.programs import DecisionService, Worker
from tests.support.redis_servers import Authority
from tests.support.servers import Redis

BY = {"who": "ann", "why": "INC-7"}


class SecureService(DecisionService):
    """Ready when it listens: the test has the certificates."""

    def ready(self) -> bool:
        return b"serving url" in self.log.read_bytes()


class Deployment:
    """A decision service on a Redis, without a worker."""

    def __init__(self, folder: Path, redis: Redis, **secured: str) -> None:
        chosen = {
            "XM_DECISIONS__SHADOW": "false",
            "XM_GATEWAY__STALE_SECONDS": "3",
            **secured,
        }
        folder.mkdir(exist_ok=True)
        worker = Worker(folder / "worker", "127.0.0.1:1", redis.url, **chosen)
        kind = SecureService if secured else DecisionService
        self.redis, self.service = redis, kind(folder / "service", worker)
        self.control = ControlStore(redis.url)
        self.identity = from_settings(worker.settings)


@pytest.fixture(scope="module")
def deployed(own_redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    found = Deployment(tmp_path_factory.mktemp("deployed"), own_redis)
    with found.service:
        yield found


@asynccontextmanager
async def following(deployed: Deployment, **chosen: object) -> AsyncIterator[DecisionClient]:
    at_hand = {"url": f"http://{deployed.service.address}", "timeout_seconds": 10.0}
    settings = config.Gateway(**at_hand | chosen)
    client = DecisionClient(settings, ClientMetrics(CollectorRegistry()))
    client.start()
    try:
        await until(lambda: client.live)
        yield client
    finally:
        await client.close()


async def eventually(
    check: Callable[[], Awaitable[Verdict]], is_so: Callable[[Verdict], bool]
) -> Verdict:
    """The verdict once it is as expected."""
    deadline = time.monotonic() + 60
    while not is_so(verdict := await check()):
        assert time.monotonic() < deadline, verdict
        await asyncio.sleep(0.02)
    return verdict


async def test_client_enforces_what_people_decide(deployed: Deployment) -> None:
    control, key = deployed.control, "sk-decided"
    subject = deployed.identity.key(hashed_key(key))
    async with following(deployed) as client:

        async def check() -> Verdict:
            return await client.check([key])

        assert (await check()).status == 200
        assert client.shadow is False
        control.decide(subject, "block", 600.0, **BY)
        verdict = await eventually(check, lambda found: found.status == 403)
        assert verdict.reason
        control.allow(subject, "sales", 600.0, **BY)
        await eventually(check, lambda found: found.status == 200)
        control.disallow(subject, **BY)
        await eventually(check, lambda found: found.status == 403)
        control.switch("kill", True, **BY)
        await eventually(check, lambda found: found.status == 200)
        await until(lambda: client.shadow)
        control.switch("kill", None, **BY)
        await eventually(check, lambda found: found.status == 403)
        control.decide(subject, "throttle", 600.0, rate=6.0, **BY)
        await eventually(check, lambda found: found.status == 429)
        control.delete(subject, **BY)
        await eventually(check, lambda found: found.status == 200)


async def test_client_finds_accounts_and_end_users(deployed: Deployment) -> None:
    identity = deployed.identity
    deployed.control.decide(identity.account("acme"), "challenge", 600.0, **BY)
    deployed.control.decide(identity.end_user("sk-app", "eve"), "block", 600.0, **BY)
    async with following(deployed) as client:
        asked = (client.check(["sk-9"], "acme"), client.check(["sk-app"], None, "eve"))
        assert [each.status for each in await asyncio.gather(*asked)] == [401, 403]
        assert (await client.check(["sk-app"], None, "ann")).status == 200


async def test_client_keeps_decisions_over_a_restart_of_the_service(deployed: Deployment) -> None:
    deployed.control.decide(deployed.identity.key("sk-kept"), "block", 600.0, **BY)
    async with following(deployed) as client:
        assert (await client.check(["sk-kept"])).status == 403
        await asyncio.to_thread(deployed.service.kill)
        await until(lambda: not client.live)
        assert (await client.check(["sk-kept"])).status == 403
        deployed.control.delete(deployed.identity.key("sk-kept"), **BY)
        deployed.service.start()  # in this thread: the service ends with the one that starts it
        await eventually(lambda: client.check(["sk-kept"]), lambda found: found.status == 200)
        await until(lambda: client.live)


async def test_client_shows_its_certificate_and_its_token(own_redis: Redis, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    served, key = authority.sign("localhost")
    shown, shown_key = authority.sign("gateway")
    token, line = new_token("gateway", "look")
    tokens = tmp_path / "tokens"
    tokens.write_text(line + "\n")
    secured = {
        "XM_SERVE__TLS_CERT_FILE": str(served),
        "XM_SERVE__TLS_KEY_FILE": str(key),
        "XM_SERVE__TLS_CLIENT_CA_FILE": str(authority.certificate),
        "XM_SERVE__TOKENS_FILE": str(tokens),
        "XM_SERVE__LOOKUPS": "token",
    }
    deployed = Deployment(tmp_path / "secured", own_redis, **secured)
    deployed.control.decide(deployed.identity.key("sk-secure"), "block", 600.0, **BY)
    right: dict[str, object] = {
        "url": f"https://localhost:{deployed.service.port}",
        "ca_file": authority.certificate,
        "cert_file": shown,
        "cert_key_file": shown_key,
        "token": token,
    }
    wrong: list[dict[str, object]] = [{"token": "guessed"}, {"ca_file": None}]
    wrong.append({"cert_file": None, "cert_key_file": None})
    with deployed.service:
        async with following(deployed, **right) as client:
            assert (await client.check(["sk-secure"])).status == 403
        for each in wrong:
            settings = config.Gateway(**{**right, **each, "fail": "closed"})
            client = DecisionClient(settings, ClientMetrics(CollectorRegistry()))
            assert (await client.check(["sk-secure"])).status == 503
            assert not client.live
            await client.close()


async def test_client_keeps_decisions_while_redis_is_away(deployed: Deployment) -> None:
    deployed.control.decide(deployed.identity.key("sk-redis"), "block", 600.0, **BY)
    async with (
        following(deployed) as client,
        following(deployed, fail="closed", stale_seconds=3) as closed,
    ):
        assert (await client.check(["sk-redis"])).status == 403
        assert (await closed.check(["sk-other"])).status == 200
        deployed.redis.pause()
        try:
            await eventually(lambda: closed.check(["sk-other"]), lambda found: found.status == 503)
            assert (await closed.check(["sk-redis"])).status == 403
            assert (await client.check(["sk-redis"])).status == 403
            assert (await client.check(["sk-unknown"])).status == 200
        finally:
            deployed.redis.resume()
        await eventually(lambda: closed.check(["sk-other"]), lambda found: found.status == 200)
        deployed.control.delete(deployed.identity.key("sk-redis"), **BY)
        await eventually(lambda: client.check(["sk-redis"]), lambda found: found.status == 200)
