"""The Lua recipe decides as `effective` does, whatever is in Redis."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import msgspec
import pytest
import redis

from monitor.alerting.alerts import ACTIONS
from monitor.alerting.decisions import ORIGINS, ActiveDecision
from monitor.alerting.enforcement import Allowance, Control, Switch, Withdrawal, effective
from monitor.store.redis import decision_name
from tests.support.decide import SECRET, Decide
from tests.support.gateways import Ask, ModelServer, RedisLua, asking
from tests.support.servers import Redis

NOW = float(int(time.time()))
READ = ["+get", "+hget", "+hmget", "+hgetall"]
SHOW = """
        location = /effective {
            content_by_lua_block {
                local found, reason = monitor.find(ngx.var.arg_subject, options)
                local now, shadow = tonumber(ngx.var.arg_now), ngx.var.arg_shadow == "True"
                ngx.print(found and monitor.effective(found, now, shadow) or reason)
            }
        }
"""


@pytest.fixture
async def lua(
    api: ModelServer, own_redis: Redis, tmp_path: Path
) -> AsyncIterator[tuple[RedisLua, Ask]]:
    with redis.from_url(own_redis.url) as client:
        client.flushdb()
    gateway = RedisLua(tmp_path / "nginx", api.port, own_redis.port, SECRET, locations=SHOW)
    async with asking(gateway) as ask:
        api.served.clear()
        yield gateway, ask


def decision(pick: random.Random, subject: str, origin: str) -> ActiveDecision:
    steps = [(pick.choice(ACTIONS), 10.0 * pick.randint(1, 3)) for _ in range(pick.randint(0, 2))]
    return ActiveDecision(
        subject,
        pick.choice(ACTIONS),
        f"a_{pick.randint(0, 5)}",
        NOW,
        30.0,
        origin=origin,
        kind=pick.choice(("burst", "campaign")),
        ties=tuple(pick.sample(["a_1", "p_1", "n_1"], pick.randint(0, 3))),
        shadow=pick.random() < 0.2,
        steps=tuple(steps),
        capped=pick.random() < 0.3,
        expires_at=NOW + 30.0 + sum(seconds for _, seconds in steps),
    )


def control(pick: random.Random, subject: str) -> Control:
    end = (None, NOW - 5.0, NOW + 5.0)
    names = [n for n in ("kill", "shadow", "shadow:burst", "caps") if pick.random() < 0.25]
    allowed = [s for s in (subject, "a_1", "p_1") if pick.random() < 0.15]
    withdrawn = [f"a_{n}" for n in range(6) if pick.random() < 0.15]
    of_key = [f"a_{n}/{subject}" for n in range(6) if pick.random() < 0.1]
    return Control(
        {n: Switch(pick.random() < 0.5, "ann", "why", NOW, pick.choice(end)) for n in names},
        {s: Allowance(s, "bo", "ann", "why", NOW, NOW + pick.choice((-5.0, 5.0))) for s in allowed},
        {
            a: Withdrawal(a, subject, "burst", "warning", "ann", "why", NOW)
            for a in (*withdrawn, *of_key, "a_0/k_other")
        },
    )


async def test_lua_decides_as_the_monitor_does(lua: tuple[RedisLua, Ask], own_redis: Redis) -> None:
    pick, subject, found, expected = random.Random(7), "k_" + "0" * 24, [], []
    with redis.from_url(own_redis.url) as client:
        async with aiohttp.ClientSession() as session:
            for _ in range(400):
                origins = [origin for origin in ORIGINS if pick.random() < 0.5]
                decisions = [decision(pick, subject, origin) for origin in origins]
                held = control(pick, subject)
                now, shadow = NOW + 10 * pick.randint(0, 9), pick.random() < 0.3
                client.flushdb()
                for each in decisions:
                    client.set(decision_name(each.origin, subject), msgspec.json.encode(each))
                for name, entries in (
                    ("xm:control", held.switches),
                    ("xm:allow", held.allowed),
                    ("xm:withdrawn", held.withdrawn),
                ):
                    for field, value in entries.items():
                        client.hset(name, field, msgspec.json.encode(value))
                asked = urlencode({"subject": subject, "now": now, "shadow": shadow})
                async with session.get(f"{lua[0].url}/effective?{asked}") as response:
                    found.append(await response.text())
                expected.append(effective(decisions, held, now, shadow).action)
    assert found == expected
    assert {*expected} == {*ACTIONS}


async def test_blocked_key_is_refused_in_any_spelling(
    lua: tuple[RedisLua, Ask], decide: Decide, api: ModelServer
) -> None:
    decide("sk-blocked", "block")
    spellings = (
        "Bearer sk-blocked",
        "bearer\tsk-blocked",
        "Bearer Bearer sk-blocked",
        "sk-blocked",
    )
    answers = [await lua[1](Authorization=each) for each in spellings]
    assert {answer.status for answer in answers} == {403}
    assert api.served == []


async def test_client_cannot_mark_its_request(lua: tuple[RedisLua, Ask], api: ModelServer) -> None:
    assert (await lua[1](Authorization="Bearer sk-1", **{"X-XM-Mark": "m_2"})).status == 200
    assert "X-XM-Mark" not in api.headers[-1]


async def test_throttled_key_gets_its_rate(lua: tuple[RedisLua, Ask], decide: Decide) -> None:
    decide("sk-slow", "throttle", rate=2.0)
    answers = [await lua[1](Authorization="Bearer sk-slow") for _ in range(12)]
    statuses = [answer.status for answer in answers]
    assert 6 <= statuses.count(200) < 12
    limited = next(answer for answer in answers if answer.status == 429)
    assert 1 <= int(limited.headers["Retry-After"]) <= 30
    assert (await lua[1](Authorization="Bearer sk-other")).status == 200


async def test_gateway_needs_only_a_user_that_can_read(
    api: ModelServer, own_redis: Redis, decide: Decide, tmp_path: Path
) -> None:
    decide("sk-blocked", "block")
    with redis.from_url(own_redis.url) as client:
        client.acl_setuser("gateway", enabled=True, passwords=["+pw"], keys=["xm:*"], commands=READ)
    gateway = RedisLua(tmp_path / "nginx", api.port, own_redis.port, SECRET)
    gateway.options = 'auth = { "gateway", "pw" },'
    async with asking(gateway) as ask:
        assert (await ask(Authorization="Bearer sk-blocked")).status == 403


async def test_requests_pass_while_redis_is_away(
    api: ModelServer, own_redis: Redis, decide: Decide, tmp_path: Path
) -> None:
    decide("sk-blocked", "block")
    async with asking(RedisLua(tmp_path / "nginx", api.port, own_redis.port, SECRET)) as ask:
        own_redis.kill()
        try:
            assert (await ask(Authorization="Bearer sk-blocked")).status == 200
        finally:
            own_redis.start()
        assert (await ask(Authorization="Bearer sk-blocked")).status == 403
