"""People hold decisions back, and Redis fails: what a gateway then does, through nginx."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
import redis

from monitor.alerting.decisions import ActiveDecision, Decision
from monitor.identity import Identity
from monitor.requests.ties import Ties
from monitor.store.base import Checkpoint
from monitor.store.control import ControlStore
from monitor.store.feed import feed_entry
from monitor.store.redis import RedisStore, decision_name
from tests.support.gateways import Ask, ModelServer, Nginx, answered, asking
from tests.support.programs import DecisionService, Worker
from tests.support.servers import Redis
from tests.support.sweep import bearer

SECRET = "known to this test only"
WHO = ("ann", "test")
IDENTITY = Identity(SECRET.encode())
STALE_SECONDS = 3.0


@pytest.fixture(scope="module")
def worker(own_redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Worker:
    """A worker's settings, in shadow mode. It is not started."""
    folder = tmp_path_factory.mktemp("worker")
    return Worker(folder, "127.0.0.1:9", own_redis.url, XM_IDENTITY_SECRET=SECRET)


@pytest.fixture(scope="module")
def serve(worker: Worker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DecisionService]:
    """A decision service in shadow mode."""
    with DecisionService(tmp_path_factory.mktemp("serve"), worker) as serve:
        yield serve


@pytest.fixture
def control(own_redis: Redis) -> Iterator[ControlStore]:
    """What people can do; shadow mode is off to begin with, and nothing is held back."""
    control = ControlStore(own_redis.url)
    control.switch("shadow", False, *WHO)
    yield control
    for name in control.read().switches:
        control.switch(name, None, *WHO)  # type: ignore[arg-type]


@pytest.fixture
async def ask(api: ModelServer, serve: DecisionService, tmp_path: Path) -> AsyncIterator[Ask]:
    async with asking(Nginx(tmp_path / "nginx", api.port, serve.port, patient=False)) as ask:
        yield ask


def block(server: Redis, key: str, *, ties: tuple[str, ...] = (), alert: str = "a_1") -> str:
    """Put a detector's block into force; returns the pseudonym of the key."""
    subject = IDENTITY.key(key)
    made = Decision(subject, "block", alert, time.time(), 600.0, kind="burst", ties=ties)
    RedisStore(server.url, 100).commit(Checkpoint(decisions=[made]))
    return subject


async def test_shadow_mode_enforces_nothing(
    ask: Ask, own_redis: Redis, control: ControlStore
) -> None:
    block(own_redis, "sk-shadow")
    await answered(ask, bearer("sk-shadow"), 403)
    control.switch("shadow", True, *WHO)
    await answered(ask, bearer("sk-shadow"), 200)
    control.switch("shadow", True, *WHO, kind="burst")
    control.switch("shadow", False, *WHO)
    block(own_redis, "sk-shadow-of-kind")
    block(own_redis, "sk-marker", alert="a_2")
    control.decide(IDENTITY.key("sk-marker"), "block", 600.0, *WHO)
    await answered(ask, bearer("sk-marker"), 403)
    assert (await ask(**bearer("sk-shadow-of-kind"))).status == 200
    control.switch("shadow", None, *WHO, kind="burst")
    await answered(ask, bearer("sk-shadow-of-kind"), 403)


async def test_shadow_mode_is_on_unless_somebody_turns_it_off(
    ask: Ask, own_redis: Redis, control: ControlStore
) -> None:
    block(own_redis, "sk-default")
    await answered(ask, bearer("sk-default"), 403)
    control.switch("shadow", None, *WHO)
    await answered(ask, bearer("sk-default"), 200)


async def test_kill_switch_enforces_nothing(
    ask: Ask, own_redis: Redis, control: ControlStore
) -> None:
    block(own_redis, "sk-kill")
    await answered(ask, bearer("sk-kill"), 403)
    control.switch("kill", True, *WHO)
    await answered(ask, bearer("sk-kill"), 200)
    control.switch("kill", False, *WHO)
    await answered(ask, bearer("sk-kill"), 403)


async def test_allow_list_exempts_a_key_by_itself_or_what_it_used(
    ask: Ask, own_redis: Redis, control: ControlStore
) -> None:
    ties = {
        "sk-by-account": IDENTITY.account("acct-1"),
        "sk-by-payment": Ties(IDENTITY).payment("card-1"),
        "sk-by-network": Ties(IDENTITY).network("192.0.2.7"),
    }
    allowed = ties | {"sk-by-key": IDENTITY.key("sk-by-key")}
    for key in allowed:
        block(own_redis, key, ties=(ties[key],) if key in ties else ())

    async def all_get(status: int) -> None:
        await asyncio.gather(*(answered(ask, bearer(key), status) for key in allowed))

    await all_get(403)
    for subject in allowed.values():
        control.allow(subject, "team", 600.0, *WHO)
    await all_get(200)
    for subject in allowed.values():
        control.disallow(subject, *WHO)
    await all_get(403)


async def test_capped_block_only_throttles_until_a_person_lifts_the_caps(
    ask: Ask, own_redis: Redis, control: ControlStore
) -> None:
    now, subject = time.time(), IDENTITY.key("sk-capped")
    made = ActiveDecision(
        subject, "block", "a_1", now, 600.0, kind="burst", capped=True, expires_at=now + 600.0
    )
    put(own_redis, made)
    await answered(ask, bearer("sk-capped"), 429)
    control.switch("caps", False, *WHO, until=now + 600.0)
    await answered(ask, bearer("sk-capped"), 403)


async def test_person_overrules_detectors(
    ask: Ask, own_redis: Redis, control: ControlStore
) -> None:
    subject = block(own_redis, "sk-person")
    await answered(ask, bearer("sk-person"), 403)
    control.decide(subject, "observe", 600.0, *WHO)
    await answered(ask, bearer("sk-person"), 200)
    control.decide(subject, "challenge", 600.0, *WHO)
    await answered(ask, bearer("sk-person"), 401)
    control.delete(subject, *WHO)
    await answered(ask, bearer("sk-person"), 200)


async def test_withdrawn_alert_lifts_its_decision(
    ask: Ask, own_redis: Redis, control: ControlStore
) -> None:
    subject = block(own_redis, "sk-withdrawn", alert="a_withdrawn")
    await answered(ask, bearer("sk-withdrawn"), 403)
    control.withdraw("a_withdrawn", subject, "burst", "critical", *WHO)
    await answered(ask, bearer("sk-withdrawn"), 200)


def test_audit_names_every_change(own_redis: Redis, control: ControlStore) -> None:
    subject, begin = IDENTITY.key("sk-audit"), time.time()
    control.switch("kill", True, *WHO)
    control.switch("caps", False, *WHO)
    control.allow(subject, "team", 600.0, *WHO)
    control.disallow(subject, *WHO)
    control.decide(subject, "block", 600.0, *WHO)
    control.delete(subject, *WHO)
    control.withdraw("a_audit", subject, "burst", "critical", *WHO)
    found = [each for each in control.audit(begin) if each.at >= begin]
    assert len(found) == 7
    assert {(each.who, each.why) for each in found} == {WHO}


async def test_known_block_holds_while_redis_is_away(
    ask: Ask, own_redis: Redis, control: ControlStore
) -> None:
    block(own_redis, "sk-known")
    await answered(ask, bearer("sk-known"), 403)
    for stop, go_on in ((own_redis.pause, own_redis.resume), (own_redis.kill, own_redis.start)):
        stop()
        try:
            end = time.monotonic() + 1.5  # longer than nginx keeps an answer
            while time.monotonic() < end:
                assert (await ask(**bearer("sk-known"))).status == 403
                assert (await ask(**bearer("sk-unknown"))).status == 200
                await asyncio.sleep(0.2)
        finally:
            go_on()  # in this thread: the server ends with the thread that starts it
        key = f"sk-after-{stop.__name__}"
        block(own_redis, key)
        await answered(ask, bearer(key), 403)


async def test_requests_are_refused_while_redis_is_away_if_so_configured(
    own_redis: Redis,
    control: ControlStore,
    worker: Worker,
    api: ModelServer,
    tmp_path: Path,
) -> None:
    closed = {
        "XM_GATEWAY__FAIL": "closed",
        "XM_GATEWAY__STALE_SECONDS": f"{STALE_SECONDS:g}",
        "XM_DECISIONS__SHADOW": "false",
    }
    service = DecisionService(tmp_path / "serve", worker, **closed)
    await asyncio.to_thread(service.start)
    try:
        async with asking(Nginx(tmp_path / "nginx", api.port, service.port)) as ask:
            await answered(ask, bearer("sk-1"), 200)
            own_redis.pause()
            try:
                await answered(ask, bearer("sk-1"), 503)
                response = await ask(**bearer("sk-2"))
                assert (response.status, response.headers["Retry-After"]) == (503, "5")
            finally:
                own_redis.resume()
            await answered(ask, bearer("sk-1"), 200)
    finally:
        await asyncio.to_thread(service.stop)


def put(server: Redis, made: ActiveDecision) -> None:
    """Write a decision as it is."""
    with redis.from_url(server.url) as client:
        name, value = decision_name(made.origin, made.key), msgspec.json.encode(made)
        client.set(name, value)
        client.execute_command(*feed_entry(name, value))
