from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from monitor.store.alert_book import AlertBook
from monitor.store.control import ControlStore
from pipelines.demo.embedded import free_port
from pipelines.kafka.read import read_topic
from pipelines.notify import Delivery, verify
from pipelines.notify.dead_letters import DeadLetter
from pipelines.notify.incidents.notice import Notice
from pipelines.notify.receivers.alertmanager import Alertmanager
from pipelines.notify.receivers.base import Endpoint
from tests.support import traffic
from tests.support.apps import until
from tests.support.programs import Worker
from tests.support.receivers import (
    SECRET,
    Desk,
    alert,
    delivered,
    in_turn,
    metric,
    route,
)
from tests.support.workers import metrics


async def test_batch_is_done_when_it_is_accepted():
    async with Desk().open() as desk, Delivery([route(desk.webhook)]) as delivery:
        await delivered(delivery, alert("1"), alert("2"))
        assert desk.taken == ["a_1 open", "a_2 open"]


async def test_webhook_request_verifies():
    async with Desk().open() as desk:
        await desk.webhook.send([Notice(alert("1"))])
    ((_, headers, body),) = desk.requests
    assert verify(SECRET.encode(), headers, body)


async def test_attempts_share_an_idempotency_key():
    async with Desk().open() as desk, Delivery([route(desk.webhook)]) as delivery:
        desk.answer = in_turn(503)
        await delivered(delivery, alert("1"))
    first, second = (headers["Idempotency-Key"] for _, headers, _ in desk.requests)
    assert first == second


@pytest.mark.parametrize("status", [500, 503, 429, 408])
async def test_alert_is_retried_after_a_transient_status(status: int):
    async with Desk().open() as desk, Delivery([route(desk.webhook)]) as delivery:
        desk.answer = in_turn(status, status)
        await delivered(delivery, alert("1"))
        assert desk.taken == ["a_1 open"]


async def test_delivery_honours_retry_after():
    async with Desk().open() as desk, Delivery([route(desk.webhook)]) as delivery:
        desk.answer = in_turn(429, headers={"Retry-After": "1"})
        await delivered(delivery, alert("1"))
    (asked, _, _), (given, _, _) = desk.requests
    assert given - asked >= 1.0


async def test_hanging_receiver_is_retried_after_the_timeout():
    async def hang(_: Any) -> web.Response:
        desk.answer = None
        await asyncio.sleep(3)
        return web.Response(status=500)

    async with Desk().open() as desk, Delivery([route(desk.webhook)]) as delivery:
        desk.answer = hang
        await delivered(delivery, alert("1"))
        assert desk.taken == ["a_1 open"]


async def test_alerts_wait_in_order_for_a_receiver_that_is_down():
    desk = Desk()
    async with Delivery([route(desk.webhook)]) as delivery:
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
    async with Delivery([route(desk.webhook)]) as delivery:
        async with desk.open():
            await delivered(delivery, alert("1"))
        second = await delivery.submit([alert("2")])
        async with desk.open():
            await asyncio.wait_for(second, 10)
    assert desk.taken == ["a_1 open", "a_2 open"]


async def test_dead_receiver_does_not_delay_the_others():
    dead = Alertmanager(Endpoint(f"http://127.0.0.1:{free_port()}", 0.5))
    async with Desk().open() as desk, Delivery([route(dead), route(desk.webhook)]) as delivery:
        batches = [await delivery.submit([alert(str(n))]) for n in range(20)]
        await until(lambda: len(desk.taken) == 20)
        assert not any(batch.done() for batch in batches)


async def test_rejected_alert_is_counted_and_its_neighbours_delivered():
    async def picky(body: Any) -> web.Response:
        return web.Response(
            status=422 if any(each["id"] == "a_3" for each in body["alerts"]) else 200
        )

    async with Desk().open() as desk, Delivery([route(desk.webhook)]) as delivery:
        desk.answer = picky
        await delivered(delivery, *(alert(str(n)) for n in range(8)))
    assert desk.taken == [f"a_{n} open" for n in range(8) if n != 3]
    assert metric(delivery, "xm_deliveries_total", receiver="webhook", outcome="refused") == 1


async def test_redirect_counts_as_a_rejection(caplog: Any):
    async with Desk().open() as desk, Delivery([route(desk.webhook)]) as delivery:
        desk.answer = in_turn(302, headers={"Location": "/login"})
        await delivered(delivery, alert("1"))
    assert "outcome=refused id=a_1 reason='answers 302'" in caplog.text


async def test_alert_that_cannot_be_encoded_stops_nothing():
    wrong = msgspec.structs.replace(alert("1"), window=(-1e300, 0.0))
    unused = Alertmanager(Endpoint(f"http://127.0.0.1:{free_port()}", 0.5))
    async with Delivery([route(unused)]) as delivery:
        await delivered(delivery, wrong)


async def test_submit_waits_while_a_queue_is_full(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipelines.notify.queue._QUEUE", 10)
    desk = Desk()
    async with Delivery([route(desk.webhook)]) as delivery:
        waiting = asyncio.create_task(delivery.submit([alert(str(n)) for n in range(30)]))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        async with desk.open():
            await asyncio.wait_for(await asyncio.wait_for(waiting, 10), 10)
    assert len(desk.taken) == 30


async def test_minor_alerts_are_not_sent():
    async with Desk().open() as desk, Delivery([route(desk.webhook, "warning")]) as delivery:
        await delivered(delivery, alert("1", severity="info"))
    assert desk.requests == []


async def test_later_states_of_a_sent_alert_are_sent():
    async with Desk().open() as desk, Delivery([route(desk.webhook, "warning")]) as delivery:
        states = [alert("1"), alert("1", "update", "info"), alert("1", "resolved", "info")]
        for state in states:
            await delivered(delivery, state)
    assert desk.taken == ["a_1 open", "a_1 update", "a_1 resolved"]


async def test_end_of_an_alert_never_sent_is_not_sent():
    async with Desk().open() as desk, Delivery([route(desk.webhook, "warning")]) as delivery:
        for state in (alert("1", severity="info"), alert("1", "resolved", "info")):
            await delivered(delivery, state)
    assert desk.requests == []


async def test_end_of_an_alert_from_before_a_restart_is_sent():
    async with Desk().open() as desk, Delivery([route(desk.webhook, "warning")]) as delivery:
        await delivered(delivery, alert("1", "resolved", "warning"))
    assert desk.taken == ["a_1 resolved"]


async def test_worker_delivers_after_its_death_and_keeps_what_a_receiver_rejects(
    kafka: str, redis_url: str, tmp_path: Path
):
    desk, chat = Desk(), Desk()
    chat.answer = in_turn(*[410] * 1000)
    worker = Worker(
        tmp_path / "worker",
        kafka,
        redis_url,
        XM_RECEIVERS__WEBHOOK_URL=desk.url,
        XM_RECEIVERS__WEBHOOK_SECRET=SECRET,
        XM_RECEIVERS__ROUTES__CHAT__TYPE="slack",
        XM_RECEIVERS__ROUTES__CHAT__URL=chat.url,
        XM_RECEIVERS__WAIT_MINUTES="0",
    )
    await asyncio.to_thread(worker.start)
    try:
        begin = time.time() - 600
        messages = [each for n in range(5) for each in traffic.minute(begin + 60 * n)]
        async with chat.open():
            await asyncio.to_thread(traffic.send, kafka, worker.requests, messages)
            await until(lambda: metric_of(worker, "retried", "webhook"))
            await until(lambda: metric_of(worker, "refused", "chat"))
            worker.kill()
            async with desk.open():
                await asyncio.to_thread(worker.start)
                await until(lambda: any(each.endswith(" open") for each in desk.taken))
                await until(lambda: waiting(worker) == 0 and desk.taken)
                withdrawn = withdraw_one(redis_url, "webhook")
                await until(lambda: f"{withdrawn} resolved" in desk.taken)
                await until(lambda: not is_open(redis_url, withdrawn))
    finally:
        await asyncio.to_thread(worker.stop)
    values = await asyncio.to_thread(
        lambda: list(read_topic(worker.settings, worker.settings.topics.undelivered))
    )
    letters = [msgspec.json.decode(value, type=DeadLetter) for value in values]
    assert {each.receiver for each in letters} == {"chat"}
    buried = {f"{each.alert.id} {each.alert.state}" for each in letters}
    assert buried >= set(desk.taken) - {f"{withdrawn} resolved"}
    assert len(desk.taken) == len(set(desk.taken))
    assert chat.accepted == []


def withdraw_one(redis_url: str, receiver: str) -> str:
    """Withdraw an open alert that a receiver has accepted; return its id."""
    alert = next(
        entry.alert
        for entry in AlertBook(redis_url).entries()
        if entry.is_open and any(mark.accepted for mark in entry.of(receiver))
    )
    ControlStore(redis_url).withdraw(
        alert.id, alert.subject.id, alert.kind, alert.severity, "ana", "our own CI"
    )
    return alert.id


def is_open(redis_url: str, id: str) -> bool:
    return AlertBook(redis_url).read([id])[id].is_open


def metric_of(worker: Worker, outcome: str, receiver: str) -> float:
    """Deliveries of a worker so far."""
    return metrics(worker)[f"xm_deliveries_total {outcome} {receiver}"]


def waiting(worker: Worker) -> float:
    """Alerts that wait for any receiver."""
    return sum(n for name, n in metrics(worker).items() if name.startswith("xm_undelivered_alerts"))
