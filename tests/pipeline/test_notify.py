from __future__ import annotations

import asyncio
import contextlib
import json
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from monitor.alerting.alerts import Alert, Severity, State, Subject
from pipelines.demo.embedded import free_port
from pipelines.notify import Alertmanager, Delivery, Webhook, verify
from tests.support import traffic
from tests.support.apps import until
from tests.support.programs import WebServer, Worker, program

SECRET = b"shared with the receiver"


def alert(name: str, state: State = "open", severity: Severity = "critical") -> Alert:
    return Alert(
        id=f"a_{name}",
        kind="burst",
        state=state,
        severity=severity,
        score=0.97,
        subject=Subject("api_key", f"k_{name}"),
        detected_at=1_772_040_000.0,
        window=(1_772_039_000.0, 1_772_040_000.0),
        evidence={"requests": 400.0},
        summary=f"Key k_{name} sends 31 times its usual rate.",
        decision="throttle",
    )


@contextlib.asynccontextmanager
async def serving(
    path: str, take: Callable[[web.Request], Awaitable[web.Response]], port: int
) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_post(path, take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


class Desk:
    """An HTTP receiver that records accepted alerts; `answer` makes its responses."""

    def __init__(self) -> None:
        self.port = free_port()
        self.taken: list[str] = []
        self.requests: list[tuple[float, dict[str, str], bytes]] = []
        self.answer: Callable[[list[Alert]], Awaitable[web.Response]] | None = None

    @property
    def webhook(self) -> Webhook:
        return Webhook(f"http://127.0.0.1:{self.port}/hook", SECRET, timeout_seconds=0.5)

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append((time.monotonic(), dict(request.headers), body))
        alerts = msgspec.json.decode(body, type=dict[str, list[Alert]])["alerts"]
        answer = await self.answer(alerts) if self.answer else web.Response()
        if answer.status < 300:
            self.taken += [f"{alert.id} {alert.state}" for alert in alerts]
        return answer

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Desk]:
        async with serving("/hook", self._take, self.port):
            yield self


def in_turn(*statuses: int, headers: dict[str, str] | None = None) -> Any:
    """Answers with each status once, then with 200."""
    left = list(statuses)

    async def answer(_: list[Alert]) -> web.Response:
        return web.Response(status=left.pop(0), headers=headers) if left else web.Response()

    return answer


def metric(delivery: Delivery, name: str, **labels: str) -> float:
    return delivery.metrics.registry.get_sample_value(name, labels) or 0.0


async def test_batch_is_done_when_it_is_accepted():
    async with Desk().open() as desk, Delivery([desk.webhook]) as delivery:
        await asyncio.wait_for(await delivery.submit([alert("1"), alert("2")]), 5)
        assert desk.taken == ["a_1 open", "a_2 open"]


async def test_webhook_request_verifies():
    async with Desk().open() as desk:
        await desk.webhook.send([alert("1")])
    ((_, headers, body),) = desk.requests
    assert verify(SECRET, headers, body)


async def test_attempts_share_an_idempotency_key():
    async with Desk().open() as desk, Delivery([desk.webhook]) as delivery:
        desk.answer = in_turn(503)
        await asyncio.wait_for(await delivery.submit([alert("1")]), 5)
    first, second = (headers["Idempotency-Key"] for _, headers, _ in desk.requests)
    assert first == second


@pytest.mark.parametrize("status", [500, 503, 429, 408])
async def test_alert_is_retried_after_a_transient_status(status: int):
    async with Desk().open() as desk, Delivery([desk.webhook]) as delivery:
        desk.answer = in_turn(status, status)
        await asyncio.wait_for(await delivery.submit([alert("1")]), 5)
        assert desk.taken == ["a_1 open"]


async def test_delivery_honours_retry_after():
    async with Desk().open() as desk, Delivery([desk.webhook]) as delivery:
        desk.answer = in_turn(429, headers={"Retry-After": "1"})
        await asyncio.wait_for(await delivery.submit([alert("1")]), 5)
    (asked, _, _), (given, _, _) = desk.requests
    assert given - asked >= 1.0


async def test_hanging_receiver_is_retried_after_the_timeout():
    async def hang(_: list[Alert]) -> web.Response:
        desk.answer = None
        await asyncio.sleep(3)
        return web.Response(status=500)

    async with Desk().open() as desk, Delivery([desk.webhook]) as delivery:
        desk.answer = hang
        await asyncio.wait_for(await delivery.submit([alert("1")]), 2.5)
        assert desk.taken == ["a_1 open"]


async def test_alerts_wait_in_order_for_a_receiver_that_is_down():
    desk = Desk()
    async with Delivery([desk.webhook]) as delivery:
        batches = [await delivery.submit([alert(str(n))]) for n in range(5)]
        await asyncio.sleep(0.5)
        assert not any(batch.done() for batch in batches)
        assert metric(delivery, "xm_undelivered_alerts", receiver="webhook") == 5
        async with desk.open():
            await asyncio.wait_for(asyncio.gather(*batches), 10)
    assert desk.taken == [f"a_{n} open" for n in range(5)]
    assert metric(delivery, "xm_undelivered_alerts", receiver="webhook") == 0


async def test_alerts_survive_a_restart_of_their_receiver():
    desk = Desk()
    async with Delivery([desk.webhook]) as delivery:
        async with desk.open():
            await asyncio.wait_for(await delivery.submit([alert("1")]), 5)
        second = await delivery.submit([alert("2")])
        async with desk.open():
            await asyncio.wait_for(second, 10)
    assert desk.taken == ["a_1 open", "a_2 open"]


async def test_dead_receiver_does_not_delay_the_others():
    dead = Alertmanager(f"http://127.0.0.1:{free_port()}", timeout_seconds=0.5)
    async with Desk().open() as desk, Delivery([dead, desk.webhook]) as delivery:
        batches = [await delivery.submit([alert(str(n))]) for n in range(20)]
        await until(lambda: len(desk.taken) == 20)
        assert not any(batch.done() for batch in batches)


async def test_rejected_alert_is_counted_and_its_neighbours_delivered():
    async def picky(alerts: list[Alert]) -> web.Response:
        return web.Response(status=422 if any(each.id == "a_3" for each in alerts) else 200)

    async with Desk().open() as desk, Delivery([desk.webhook]) as delivery:
        desk.answer = picky
        await asyncio.wait_for(await delivery.submit([alert(str(n)) for n in range(8)]), 5)
    assert desk.taken == [f"a_{n} open" for n in range(8) if n != 3]
    assert metric(delivery, "xm_deliveries_total", receiver="webhook", outcome="refused") == 1


async def test_redirect_counts_as_a_rejection(caplog: Any):
    async with Desk().open() as desk, Delivery([desk.webhook]) as delivery:
        desk.answer = in_turn(302, headers={"Location": "/login"})
        await asyncio.wait_for(await delivery.submit([alert("1")]), 5)
    assert "alert_refused receiver=webhook id=a_1 reason='answers 302'" in caplog.text


async def test_alert_that_cannot_be_encoded_stops_nothing():
    wrong = msgspec.structs.replace(alert("1"), window=(-1e300, 0.0))
    unused = Alertmanager(f"http://127.0.0.1:{free_port()}", timeout_seconds=0.5)
    async with Delivery([unused]) as delivery:
        await asyncio.wait_for(await delivery.submit([wrong]), 5)


async def test_submit_waits_while_a_queue_is_full(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipelines.notify.delivery._QUEUE", 10)
    desk = Desk()
    async with Delivery([desk.webhook]) as delivery:
        waiting = asyncio.create_task(delivery.submit([alert(str(n)) for n in range(30)]))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        async with desk.open():
            await asyncio.wait_for(await asyncio.wait_for(waiting, 10), 10)
    assert len(desk.taken) == 30


async def test_minor_alerts_are_done_at_once_and_not_sent():
    async with Desk().open() as desk, Delivery([desk.webhook], "warning") as delivery:
        assert (await delivery.submit([alert("1", severity="info")])).done()
    assert desk.requests == []


async def test_later_states_of_a_sent_alert_are_sent():
    async with Desk().open() as desk, Delivery([desk.webhook], "warning") as delivery:
        states = [alert("1"), alert("1", "update", "info"), alert("1", "resolved", "info")]
        for state in states:
            await asyncio.wait_for(await delivery.submit([state]), 5)
    assert desk.taken == ["a_1 open", "a_1 update", "a_1 resolved"]


async def test_end_of_an_alert_never_sent_is_not_sent():
    async with Desk().open() as desk, Delivery([desk.webhook], "warning") as delivery:
        for state in (alert("1", severity="info"), alert("1", "resolved", "info")):
            await asyncio.wait_for(await delivery.submit([state]), 5)
    assert desk.requests == []


async def test_end_of_an_alert_from_before_a_restart_is_sent():
    async with Desk().open() as desk, Delivery([desk.webhook], "warning") as delivery:
        await asyncio.wait_for(await delivery.submit([alert("1", "resolved", "info")]), 5)
    assert desk.taken == ["a_1 resolved"]


class RealAlertmanager(WebServer):
    """Debian's Alertmanager, which notifies `notified_port` on this machine."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.notified_port = free_port()
        self.receiver = Alertmanager(self.url, timeout_seconds=2)
        self.config = folder / "alertmanager.yml"
        self.config.write_text(
            "route: {receiver: desk, group_by: [alert_id], group_wait: 1s, group_interval: 1s}\n"
            "receivers:\n- name: desk\n  webhook_configs:\n"
            f"  - {{url: 'http://127.0.0.1:{self.notified_port}/notify', send_resolved: true}}\n"
        )

    def command(self) -> list[str]:
        return [
            program("prometheus-alertmanager"),
            f"--config.file={self.config}",
            f"--storage.path={self.folder}/data",
            f"--web.listen-address={self.address}",
            "--cluster.listen-address=",
        ]

    def active(self, name: str) -> list[dict[str, Any]]:
        query = urllib.parse.urlencode({"filter": f'alert_id="a_{name}"'})
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts?{query}", timeout=5) as response:
            found: list[dict[str, Any]] = json.load(response)
        return found

    @contextlib.asynccontextmanager
    async def notifications(self) -> AsyncIterator[list[dict[str, str]]]:
        """The state by severity of each notification, as a person on call gets it."""
        seen: list[dict[str, str]] = []

        async def take(request: web.Request) -> web.Response:
            alerts = (await request.json())["alerts"]
            seen.append({each["labels"]["severity"]: each["status"] for each in alerts})
            return web.Response()

        async with serving("/notify", take, self.notified_port):
            yield seen


@pytest.fixture
def alertmanager(tmp_path: Path) -> RealAlertmanager:
    program("prometheus-alertmanager")
    return RealAlertmanager(tmp_path)


async def test_alertmanager_shows_an_open_alert_of_months_ago(
    alertmanager: RealAlertmanager,
):
    with alertmanager:
        await alertmanager.receiver.send([alert("1")])
        (shown,) = alertmanager.active("1")
    assert shown["status"]["state"] == "active"
    assert shown["startsAt"].startswith("2026-02-25T")


async def test_update_changes_the_alert_in_alertmanager(
    alertmanager: RealAlertmanager,
):
    with alertmanager:
        await alertmanager.receiver.send([alert("1")])
        later = msgspec.structs.replace(alert("1", "update"), score=0.999)
        await alertmanager.receiver.send([later])
        (shown,) = alertmanager.active("1")
    assert shown["annotations"]["score"] == "0.999"


async def test_escalated_alert_is_active_once(
    alertmanager: RealAlertmanager,
):
    with alertmanager:
        await alertmanager.receiver.send([alert("1", severity="warning")])
        await alertmanager.receiver.send([alert("1", "update", "critical")])
        (shown,) = alertmanager.active("1")
    assert shown["labels"]["severity"] == "critical"


async def test_resolved_alert_is_not_active(alertmanager: RealAlertmanager):
    with alertmanager:
        await alertmanager.receiver.send([alert("1", severity="warning")])
        await alertmanager.receiver.send([alert("1", "update", "critical")])
        await alertmanager.receiver.send([alert("1", "resolved", "critical")])
        assert alertmanager.active("1") == []


async def test_alert_opened_and_resolved_at_once_is_not_active(
    alertmanager: RealAlertmanager,
):
    with alertmanager:
        await alertmanager.receiver.send([alert("1"), alert("1", "resolved")])
        assert alertmanager.active("1") == []


async def test_alerts_arrive_when_alertmanager_starts(
    alertmanager: RealAlertmanager,
):
    async with Delivery([alertmanager.receiver]) as delivery:
        batch = await delivery.submit([alert("1"), alert("2"), alert("2", "resolved")])
        await asyncio.sleep(0.3)
        with alertmanager:
            await asyncio.wait_for(batch, 15)
            assert len(alertmanager.active("1")) == 1
            assert alertmanager.active("2") == []


async def test_alertmanager_notifies_of_an_escalation_only(
    alertmanager: RealAlertmanager,
):
    states = [
        alert("1", severity="warning"),
        alert("1", "update", "critical"),
        alert("1", "resolved", "critical"),
    ]
    async with alertmanager.notifications() as seen:
        with alertmanager:
            for count, state in enumerate(states, start=1):
                await alertmanager.receiver.send([state])
                await until(lambda count=count: len(seen) == count)
    assert seen == [
        {"warning": "firing"},
        {"warning": "resolved", "critical": "firing"},
        {"warning": "resolved", "critical": "resolved"},
    ]


async def test_alert_from_before_a_restart_resolves(
    alertmanager: RealAlertmanager,
):
    restarted = Alertmanager(alertmanager.receiver.url, timeout_seconds=2)
    with alertmanager:
        await alertmanager.receiver.send([alert("1", severity="warning")])
        await restarted.send([alert("1", "resolved", "critical")])
        assert alertmanager.active("1") == []


async def test_alert_survives_a_dead_receiver_and_a_killed_worker(
    kafka: str, redis_url: str, tmp_path: Path
):
    desk = Desk()
    worker = Worker(
        tmp_path / "worker",
        kafka,
        redis_url,
        XM_RECEIVERS__WEBHOOK_URL=desk.webhook.url,
        XM_RECEIVERS__WEBHOOK_SECRET=SECRET.decode(),
    )
    await asyncio.to_thread(worker.start)
    try:
        begin = time.time() - 600
        messages = [each for n in range(5) for each in traffic.minute(begin + 60 * n)]
        await asyncio.to_thread(traffic.send, kafka, worker.requests, messages)
        retried = 'xm_deliveries_total{outcome="retried",receiver="webhook"} 0.0'
        await until(lambda: retried not in metrics_of(worker), 20)
        worker.kill()
        async with desk.open():
            await asyncio.to_thread(worker.start)
            await until(lambda: any(each.endswith(" open") for each in desk.taken), 40)
    finally:
        await asyncio.to_thread(worker.stop)


def metrics_of(worker: Worker) -> str:
    with urllib.request.urlopen(f"{worker.url}/metrics", timeout=5) as response:
        return str(response.read(), "utf-8")
