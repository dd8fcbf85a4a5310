from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from monitor.alerting.alerts import Action
from monitor.alerting.decisions import Decision
from monitor.config import Gateway
from monitor.identity import Identity
from monitor.store.base import Checkpoint
from monitor.store.redis import RedisStore
from tests.support.gateways import Ask, ModelServer, Nginx, asking
from tests.support.programs import Worker
from tests.support.servers import Redis
from tests.support.workers import get_page, until

Decide = Callable[[str, Action], None]


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
def decide(own_redis: Redis, workers: dict[bool, Worker]) -> Decide:
    """Puts a decision on a key into force, and waits until the workers know it."""
    identity = Identity(b"known to this test only")
    store = RedisStore(own_redis.url, 100)

    def decide(key: str, action: Action) -> None:
        decision = Decision(identity.key(key), action, "a_1", time.time(), 60.0)
        store.commit(Checkpoint(decisions=[decision]))
        for worker in workers.values():
            page = partial(get_page, worker, "/v1/decision", X_API_Key=key)
            until(lambda page=page: f'"{action}"' in page().text)

    return decide


@pytest.fixture
async def ask(api: ModelServer, workers: dict[bool, Worker], tmp_path: Path) -> AsyncIterator[Ask]:
    """Sends a request through a gateway that asks the worker that enforces."""
    async with asking(Nginx(tmp_path / "nginx", api.port, workers[False].port)) as ask:
        api.served.clear()
        api.headers.clear()
        yield ask


async def test_allowed_request_reaches_the_api_whole(ask: Ask, api: ModelServer) -> None:
    assert (await ask("sk-allowed")).status == 200
    assert api.served == ["a prompt"]


async def test_blocked_key_gets_403_and_does_not_reach_the_api(
    ask: Ask, api: ModelServer, decide: Decide
) -> None:
    decide("sk-blocked", "block")
    assert (await ask("sk-blocked")).status == 403
    assert api.served == []


def basic(credentials: str) -> str:
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer sk-blocked", "X-API-Key": "junk"},
        {"Authorization": "Bearer\tsk-blocked"},
        {"Authorization": "bEARER  sk-blocked"},
        {"Authorization": "Bearer Bearer sk-blocked"},
        {"Authorization": "sk-blocked"},
        {"Authorization": basic("sk-blocked:")},
        {"Authorization": basic("anyone:sk-blocked").replace(" ", "\t")},
        {"X-API-Key": "sk-blocked", "api-key": "junk"},
        {"X-API-Key": "Bearer sk-blocked"},
        {"api-key": "sk-blocked"},
        {"x-goog-api-key": "sk-blocked"},
        {"x-litellm-api-key": "sk-blocked"},
        {"Ocp-Apim-Subscription-Key": "sk-blocked"},
    ],
    ids=str,
)
async def test_blocked_key_is_refused_however_it_is_written(
    ask: Ask, api: ModelServer, decide: Decide, headers: dict[str, str]
) -> None:
    decide("sk-blocked", "block")
    response = await ask(**headers)
    assert response.status == 403
    assert response.content_type == "application/problem+json"
    assert api.served == []


@pytest.mark.parametrize("query", ["key=sk-blocked", "a=b&api%5Fk%65y=sk%2Dblocked"])
async def test_blocked_key_in_the_url_is_refused(ask: Ask, decide: Decide, query: str) -> None:
    decide("sk-blocked", "block")
    assert (await ask(query=query)).status == 403
    assert (await ask(query=query, Authorization="Bearer junk")).status == 403


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        (
            {"Authorization": "bearer \t sk-1", "X-API-Key": "sk-2"},
            ("Authorization", "Bearer sk-1"),
        ),
        ({"Authorization": "sk-1", "x-goog-api-key": "sk-2"}, ("Authorization", "Bearer sk-1")),
        ({"api-key": "sk-2", "X-API-Key": "sk-1"}, ("X-API-Key", "sk-1")),
        ({"x-litellm-api-key": "sk-1"}, ("x-litellm-api-key", "sk-1")),
    ],
    ids=str,
)
async def test_api_gets_the_one_key_that_was_looked_up(
    ask: Ask, api: ModelServer, headers: dict[str, str], sent: tuple[str, str]
) -> None:
    assert (await ask(**headers)).status == 200
    (received,) = api.headers
    names = [name.strip() for name in Gateway().key_headers.split(",")]
    assert [(name, received[name]) for name in names if name in received] == [sent]


async def test_unreadable_key_is_refused(ask: Ask, api: ModelServer) -> None:
    for _ in range(2):
        response = await ask(Authorization="Basic !")
        assert response.status == 400
    assert api.served == []


async def test_request_without_a_key_is_left_to_the_api(ask: Ask, api: ModelServer) -> None:
    for method in ("POST", "OPTIONS"):
        assert (await ask(method=method, Origin="https://example.org")).status == 200
    assert {len(api.served), len(api.headers)} == {2}


async def test_challenged_key_gets_401_and_a_challenge(ask: Ask, decide: Decide) -> None:
    decide("sk-challenged", "challenge")
    for _ in range(2):  # from the worker, then from the cache
        response = await ask("sk-challenged")
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"


THROTTLED = {
    "one spelling": [{"X-API-Key": "sk-throttled-1"}],
    "changing case": [
        {"Authorization": f"{scheme} sk-throttled-2"} for scheme in ("Bearer", "bearer", "BEARER")
    ],
    "changing header": [
        {"X-API-Key": "sk-throttled-3"},
        {"api-key": "sk-throttled-3"},
        {"Authorization": "Bearer\tsk-throttled-3"},
    ],
    "changing company": [{"Authorization": basic(f"{n}:sk-throttled-4")} for n in range(12)],
}


@pytest.mark.parametrize("spelling", THROTTLED)
async def test_throttled_key_gets_429_and_retry_after(
    ask: Ask, decide: Decide, spelling: str
) -> None:
    for n in range(1, 5):
        decide(f"sk-throttled-{n}", "throttle")
    spellings = itertools.cycle(THROTTLED[spelling])
    answers = [await ask(**next(spellings)) for _ in range(12)]
    statuses = [answer.status for answer in answers]
    assert 6 <= statuses.count(200) < 12  # the burst, and one more per second that this takes
    limited = next(answer for answer in answers if answer.status == 429)
    assert limited.headers["Retry-After"] == "2"


async def test_throttling_one_key_leaves_others_alone(ask: Ask, decide: Decide) -> None:
    decide("sk-throttled-too", "throttle")
    assert {(await ask("sk-throttled-too")).status for _ in range(12)} == {200, 429}
    assert (await ask("sk-other")).status == 200


async def test_client_cannot_set_its_own_decision(ask: Ask, decide: Decide) -> None:
    decide("sk-blocked", "block")
    headers = {"X-API-Key": "sk-blocked", "X-XM-Decision": "observe"}
    assert (await ask(**headers)).status == 403


async def test_shadow_mode_passes_every_request(
    api: ModelServer, workers: dict[bool, Worker], decide: Decide, tmp_path: Path
) -> None:
    for key, action in (("sk-blocked", "block"), ("sk-throttled", "throttle")):
        decide(key, action)
    async with asking(Nginx(tmp_path / "nginx", api.port, workers[True].port)) as ask:
        answers = [await ask(key) for key in ["sk-blocked"] * 2 + ["sk-throttled"] * 20]
    assert {answer.status for answer in answers} == {200}
    assert not [name for answer in answers for name in answer.headers if name.startswith("X-XM")]


@pytest.mark.parametrize("connections", [64, 256])
async def test_flood_of_unknown_keys_does_not_open_the_gate(
    api: ModelServer, workers: dict[bool, Worker], decide: Decide, tmp_path: Path, connections: int
) -> None:
    decide("sk-blocked", "block")
    numbers, passed = itertools.count(), 0
    async with asking(
        Nginx(tmp_path / "nginx", api.port, workers[False].port, patient=False)
    ) as ask:

        async def flood() -> None:
            nonlocal passed
            while True:
                response = await ask(f"sk-junk-{next(numbers)}")
                passed += response.status == 200

        floods = [asyncio.ensure_future(flood()) for _ in range(connections)]
        try:
            await asyncio.sleep(0.5)
            async with asyncio.timeout(30):
                statuses = [
                    (
                        await ask(Authorization="Bearer sk-blocked", **{"X-API-Key": f"junk {n}"})
                    ).status
                    for n in range(60)
                ]
                await asyncio.sleep(1.5)  # until the cached answer must be confirmed
                statuses += [(await ask("sk-blocked")).status for _ in range(20)]
        finally:
            for each in floods:
                each.cancel()
            await asyncio.gather(*floods, return_exceptions=True)
    assert set(statuses) == {403}
    assert passed > 100


async def test_lookups_beyond_the_limit_are_refused(ask: Ask, api: ModelServer) -> None:
    answers = await asyncio.gather(*(ask(f"sk-many-{n}") for n in range(1_000)))
    assert {answer.status for answer in answers} == {200, 429}
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.headers["Retry-After"] == "1"
    assert len(api.served) == [answer.status for answer in answers].count(200)


async def test_known_block_holds_while_the_monitor_hangs(
    api: ModelServer, workers: dict[bool, Worker], decide: Decide, tmp_path: Path
) -> None:
    worker = workers[False]
    decide("sk-blocked", "block")
    async with asking(Nginx(tmp_path / "nginx", api.port, worker.port, patient=False)) as ask:
        assert (await ask("sk-blocked")).status == 403
        worker.pause()
        try:
            await asyncio.sleep(1.5)
            assert [(await ask("sk-blocked")).status for _ in range(3)] == [403] * 3
            assert (await ask("sk-unknown")).status == 200
        finally:
            worker.resume()
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(worker.ready):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        assert (await ask("sk-blocked")).status == 403
