from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from monitor import config
from monitor.alerting.alerts import Action
from monitor.errors import ConfigError
from pipelines.gateways.client.client import DecisionClient, Verdict
from pipelines.gateways.client.metrics import ClientMetrics
from pipelines.gateways.client.native import hashed_key
from pipelines.gateways.client.refusals import refusal
from tests.support.apps import until
from tests.support.monitor import FakeMonitor, running_monitor

FAILURES = ["hang", "status", "garbage", "short"]


@pytest.fixture
async def monitor() -> AsyncIterator[FakeMonitor]:
    async with running_monitor() as found:
        yield found


@asynccontextmanager
async def client_of(monitor: FakeMonitor, **chosen: object) -> AsyncIterator[DecisionClient]:
    settings = config.Gateway(url=monitor.url, **{"timeout_seconds": 5.0, **chosen})
    client = DecisionClient(settings, ClientMetrics(CollectorRegistry()))
    client.start()
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def live_client(monitor: FakeMonitor, **chosen: object) -> AsyncIterator[DecisionClient]:
    async with client_of(monitor, **chosen) as client:
        await until(lambda: client.live)
        yield client


async def eventually(
    client: DecisionClient, key: str, action: Action, status: int | None = None
) -> Verdict:
    """The verdict on a key once it is this action, and this status."""
    deadline = time.monotonic() + 60
    while (verdict := await client.check([key])).action != action or verdict.status != (
        status or verdict.status
    ):
        assert time.monotonic() < deadline, f"{key} is not {action}"
        await asyncio.sleep(0.02)
    return verdict


async def test_client_asks_once_per_key(monitor: FakeMonitor) -> None:
    async with live_client(monitor) as client:
        verdicts = [await client.check(["sk-1"]) for _ in range(50)]
        assert {each.status for each in verdicts} == {200}
        assert monitor.looked_up == [{"key": "sk-1"}]


async def test_client_follows_changes_of_a_known_key(monitor: FakeMonitor) -> None:
    async with live_client(monitor) as client:
        await client.check(["sk-1"])
        for decision, status in (("block", 403), ("challenge", 401), ("mark", 200)):
            monitor.set("k_sk-1", decision, reason="a_1")
            verdict = await eventually(client, "sk-1", decision)
            assert (verdict.status, verdict.reason) == (status, "a_1")
        monitor.set("k_sk-1", "observe")
        await eventually(client, "sk-1", "observe")
        assert monitor.calls == 1


async def test_client_takes_the_strongest_of_all_subjects(monitor: FakeMonitor) -> None:
    monitor.set("k_sk-1", "mark", mark="m_1")
    monitor.set("a_acme", "block")
    async with live_client(monitor) as client:
        assert (await client.check(["sk-1", "sk-2"], "acme", "eve")).status == 403
        assert (await client.check(["sk-2", "sk-1"])).mark == "m_1"
        assert client.mark(["sk-2", "sk-1"]) == "m_1"
        assert {"key": "sk-2", "account": "acme", "end_user": "eve"} in monitor.looked_up


async def test_client_looks_many_keys_up_in_few_calls(monitor: FakeMonitor) -> None:
    async with live_client(monitor) as client:
        await asyncio.gather(*(client.check([f"sk-{n % 300}"]) for n in range(900)))
        assert len(monitor.looked_up) == 300
        assert monitor.calls < 10


async def test_client_steps_down_a_ladder_by_itself(monitor: FakeMonitor) -> None:
    now = time.time()
    steps = [["block", now - 1], ["throttle", now + 600]]
    monitor.set("k_sk-1", "block", until=now + 600, steps=steps, rate=60.0)
    monitor.set("k_sk-2", "block", until=now - 1)
    async with live_client(monitor) as client:
        assert (await client.check(["sk-1"])).action == "throttle"
        assert (await client.check(["sk-2"])).action == "observe"


@pytest.mark.parametrize(("processes", "passed"), [(1, 5), (60, 5)])
async def test_client_refuses_what_is_over_the_rate(
    monitor: FakeMonitor, processes: int, passed: int
) -> None:
    monitor.set("k_sk-1", "throttle", rate=6.0)
    async with live_client(monitor, processes=processes) as client:
        verdicts = [await client.check(["sk-1"]) for _ in range(passed + 1)]
        assert [each.status for each in verdicts] == [200] * passed + [429]
        assert 0 < verdicts[-1].retry_after <= 10 * processes
        refused = refusal(verdicts[-1])
        assert refused
        assert 1 <= int(refused.headers["Retry-After"]) <= 10 * processes


@pytest.mark.parametrize("failure", FAILURES)
async def test_client_passes_unknown_keys_while_the_monitor_fails(
    monitor: FakeMonitor, failure: str
) -> None:
    monitor.failure = failure
    async with live_client(monitor, timeout_seconds=0.3) as client:
        verdicts = [await client.check([f"sk-{n}"]) for n in range(20)]
        assert {(each.status, each.known) for each in verdicts} == {(200, False)}
        assert monitor.calls < 15  # an open circuit asks nothing but probes
        monitor.failure = None
        monitor.set("k_sk-7", "block")
        await eventually(client, "sk-7", "block")


async def test_client_keeps_decisions_while_the_monitor_is_away(monitor: FakeMonitor) -> None:
    monitor.set("k_sk-1", "block")
    async with live_client(monitor, timeout_seconds=0.3) as client:
        await client.check(["sk-1"])
        await monitor.stop()
        await until(lambda: not client.live)
        assert (await client.check(["sk-1"])).status == 403
        await monitor.start()
        await until(lambda: client.live)
        assert monitor.resumed == [None, "2-0"]


@pytest.mark.parametrize("disguise", [{"end_user": "stranger"}, {"more": ["sk-junk"]}])
async def test_blocked_key_cannot_become_unknown_while_the_monitor_is_away(
    monitor: FakeMonitor, disguise: dict[str, Any]
) -> None:
    monitor.set("k_sk-1", "block")
    more, end_user = disguise.get("more", []), disguise.get("end_user")
    async with live_client(monitor, timeout_seconds=0.3) as client:
        await client.check(["sk-1", *more, *more], end_user=end_user and "first")
        await monitor.stop()
        await until(lambda: not client.live)
        verdict = await client.check(["sk-1", *more], end_user=end_user)
        assert (verdict.status, verdict.action) == (403, "block")
        assert not (await client.check(["sk-2", *more], end_user=end_user)).known


async def test_client_fails_closed_if_configured(monitor: FakeMonitor) -> None:
    await monitor.stop()
    async with client_of(monitor, fail="closed") as client:
        verdict = await client.check(["sk-1"])
        assert (verdict.status, verdict.known) == (503, False)
        refused = refusal(verdict)
        assert refused
        assert refused.headers["Retry-After"] == "5"


async def test_client_fails_closed_while_the_monitor_knows_no_changes(
    monitor: FakeMonitor,
) -> None:
    async with live_client(monitor, fail="closed") as client:
        client._settings = client._settings.model_copy(update={"stale_seconds": 0.1})
        assert (await client.check(["sk-1"])).status == 200
        monitor.go_stale()
        await eventually(client, "sk-1", "observe", status=503)


async def test_client_fails_open_in_shadow_mode(monitor: FakeMonitor) -> None:
    monitor.shadow, monitor.failure = True, "status"
    async with live_client(monitor, fail="closed") as client:
        monitor.feeds = False
        monitor.cut()
        await until(lambda: not client.live)
        assert client.shadow
        assert (await client.check(["sk-1"])).status == 200


async def test_client_asks_again_each_second_without_a_feed(monitor: FakeMonitor) -> None:
    monitor.feeds = False
    async with client_of(monitor) as client:
        assert (await client.check(["sk-1"])).status == 200
        monitor.set("k_sk-1", "block")
        await eventually(client, "sk-1", "block")
        monitor.set("k_sk-1", "observe")
        await eventually(client, "sk-1", "observe")


async def test_client_enforces_the_old_state_until_the_new_one_is_complete(
    monitor: FakeMonitor,
) -> None:
    monitor.set("k_sk-1", "block")
    async with live_client(monitor, timeout_seconds=0.3) as client:
        await client.check(["sk-1"])
        await monitor.stop()
        await until(lambda: not client.live)
        client._position = None  # another monitor, which does not know the position
        monitor.state.clear()
        monitor.complete, monitor.failure = False, "status"
        await monitor.start()
        await until(lambda: len(monitor.resumed) == 2)
        assert (await client.check(["sk-1"])).status == 403
        monitor.complete = True
        monitor.cut()
        await until(lambda: client.live)
        assert monitor.resumed[-1] is None  # a state that is incomplete cannot be resumed
        assert (await client.check(["sk-1"])).status == 200


async def test_client_looks_others_up_beside_what_the_monitor_rejects(
    monitor: FakeMonitor,
) -> None:
    monitor.set("k_sk-7", "block")
    async with live_client(monitor) as client:
        keys = [f"sk-{n}" for n in range(20)] + ["rejected"]
        verdicts = await asyncio.gather(*(client.check([key]) for key in keys))
        assert [each.status for each in verdicts].index(403) == 7
        assert [each.known for each in verdicts] == [True] * 20 + [False]
        assert (await client.check(["sk-7"])).status == 403


async def test_client_names_a_long_key_by_its_hash(monitor: FakeMonitor) -> None:
    key = "x" * 5_000
    monitor.set(f"k_{hashed_key(key)}", "block")
    async with live_client(monitor) as client:
        assert (await client.check([key], end_user="x" * 5_000)).status == 403
        assert (await client.check(["sk-1"], end_user="lone \ud800 surrogate")).known


async def test_client_sends_its_token(monitor: FakeMonitor, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("look-up token\n")
    async with live_client(monitor, token_file=file) as client:
        await client.check(["sk-1"])
        assert monitor.headers[0]["X-XM-Token"] == "look-up token"


def test_client_refuses_a_certificate_that_cannot_be_read(tmp_path: Path) -> None:
    settings = config.Gateway(url="https://127.0.0.1:1", ca_file=tmp_path / "none.pem")
    with pytest.raises(ConfigError, match="XM_GATEWAY__CA_FILE"):
        DecisionClient(settings, ClientMetrics(CollectorRegistry()))


def test_client_settings_refuse_a_url_without_a_scheme() -> None:
    with pytest.raises(ValueError, match="http://host:port"):
        config.Gateway(url="monitor:6067")
