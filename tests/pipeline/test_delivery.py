"""Alerts reach each receiver once and in order, whatever receivers, workers and Redis do."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace

from monitor.config import Receivers, Settings
from monitor.store.alert_book import AlertBook, Entry, Mark
from monitor.store.control import ControlStore
from pipelines.demo.embedded import free_port
from pipelines.notify import Delivery, routes
from pipelines.notify.dead_letters import DeadLetter
from pipelines.notify.delivery import TICK
from pipelines.notify.incidents.ledger import ABANDONED, KEPT, Ledger
from pipelines.notify.receivers.base import Endpoint
from pipelines.notify.receivers.slack import Slack
from pipelines.notify.receivers.webhook import Webhook
from pipelines.notify.redeliver import redeliver
from pipelines.notify.silencing import silence
from tests.support.apps import until
from tests.support.receivers import (
    EXPECTED,
    SECRET,
    STATES,
    Desk,
    TurnedClock,
    alert,
    delivered,
    in_turn,
    ledger,
    metric,
    one_by_one,
    refuses,
    route,
    titles,
)

HOUR = 3600.0


class Letters(list[DeadLetter]):
    """Collects dead letters."""

    async def publish(self, letter: DeadLetter) -> None:
        self.append(letter)


TYPES = ("alertmanager", "pagerduty", "opsgenie", "slack", "teams", "webhook", "cloudevents")


async def requests_to(desks: dict[str, Desk], *answers: int) -> dict[str, list[Any]]:
    """What receivers of all types accept, without times; each first answers in turn."""
    keyed = {"pagerduty", "opsgenie", "webhook"}
    chosen = {
        name: {"type": name, "url": desk.url} | ({"secret": SECRET} if name in keyed else {})
        for name, desk in desks.items()
    }
    receivers = Receivers.model_validate(
        {"routes": chosen, "timeout_seconds": 0.3, "wait_minutes": 0}
    )
    async with AsyncExitStack() as stack:
        for desk in desks.values():
            await stack.enter_async_context(desk.open())
        settings = Settings(receivers=receivers)
        delivery = await stack.enter_async_context(Delivery(routes(settings)))
        await delivered(delivery, *STATES[:2])
        for desk in desks.values():
            desk.answer = in_turn(*answers, headers={"Retry-After": "1"})
        await delivered(delivery, *STATES[2:])
    return {name: list(map(_timeless, desk.accepted)) for name, desk in desks.items()}


async def test_each_alert_arrives_once_after_every_failure():
    desks = {name: Desk() for name in TYPES}
    failing = await requests_to(desks, 500, 0, 429, 503)
    assert failing == await requests_to({name: Desk() for name in TYPES})
    for desk in desks.values():
        assert len(desk.requests) - len(desk.accepted) == 4


def _timeless(request: Any) -> Any:
    """A request without the times that depend on when it is sent."""
    method, path, body = request
    if isinstance(body, list):
        body = [{"labels": each["labels"], "ends": _has_ended(each)} for each in body]
    return method, path, body


def _has_ended(posted: dict[str, Any]) -> bool:
    return datetime.fromisoformat(posted["endsAt"]) <= datetime.now(UTC)


async def test_receiver_dead_for_an_hour_delays_no_other():
    clock, living, dead = TurnedClock(), Desk(), Desk()
    other = Webhook(Endpoint(dead.url, 0.5, secret=SECRET), "other")
    async with (
        living.open(),
        Delivery([route(living.webhook), route(other)], clock=clock) as delivery,
    ):
        begin = clock.now()
        batches = [await delivery.submit([each]) for each in STATES]
        await until(lambda: len(living.taken) == 5)
        assert clock.now() == begin
        await clock.turn_until(lambda: clock.now() - begin >= HOUR, 60)
        assert metric(delivery, "xm_receiver_up", receiver="other") == 0
        assert metric(delivery, "xm_undelivered_alerts", receiver="other") == 5
        assert not any(batch.done() for batch in batches)
        async with dead.open():
            await clock.turn_until(lambda: all(batch.done() for batch in batches), 60)
    assert dead.taken == living.taken
    assert metric(delivery, "xm_receiver_up", receiver="other") == 1


async def test_restarted_worker_repeats_no_delivery(redis_url: str):
    async with Desk().open() as desk:
        for _ in range(2):
            async with Delivery([route(one_by_one(desk))], ledger=ledger(redis_url)) as delivery:
                await delivered(delivery, *STATES)
        assert titles(desk) == EXPECTED


async def test_worker_that_stops_waits_for_the_answer_under_way(redis_url: str):
    answering = asyncio.Event()

    async def slow(_: Any) -> web.Response:
        answering.set()
        await asyncio.sleep(0.3)
        return web.Response()

    async with Desk().open() as desk:
        desk.answer = slow
        async with Delivery([route(one_by_one(desk))], ledger=ledger(redis_url)) as delivery:
            await delivery.submit([alert("1")])
            await answering.wait()
        async with Delivery([route(one_by_one(desk))], ledger=ledger(redis_url)) as delivery:
            await delivered(delivery, alert("1"))
        assert titles(desk) == ["[critical] burst k_1 opened"]


async def test_killed_worker_repeats_only_what_was_not_accepted(redis_url: str):
    dead = Slack(Endpoint(f"http://127.0.0.1:{free_port()}", 0.5), "dead")
    async with Desk().open() as desk:
        async with Delivery(
            [route(one_by_one(desk)), route(dead)], ledger=ledger(redis_url)
        ) as delivery:
            batch = await delivery.submit(STATES)
            await until(lambda: len(desk.accepted) == 5)
            assert not batch.done()  # so Kafka has the batch for the next worker
        async with Desk().open() as revived:
            again = Slack(Endpoint(revived.url, 0.5), "dead")
            async with Delivery(
                [route(one_by_one(desk)), route(again)], ledger=ledger(redis_url)
            ) as delivery:
                await delivered(delivery, *STATES)
            assert titles(revived) == EXPECTED
        assert titles(desk) == EXPECTED


async def test_alerts_are_delivered_while_redis_is_away(caplog: pytest.LogCaptureFixture):
    away = f"redis://127.0.0.1:{free_port()}/0"
    async with (
        Desk().open() as desk,
        Delivery([route(one_by_one(desk))], ledger=ledger(away)) as delivery,
    ):
        await delivered(delivery, *STATES)
        assert titles(desk) == EXPECTED
    assert caplog.text.count("alert_book_failed") == 1


async def test_rejected_alert_and_its_later_states_are_dead_letters(redis_url: str):
    letters = Letters()
    async with (
        Desk().open() as desk,
        Delivery(
            [route(one_by_one(desk))], ledger=ledger(redis_url), publish=letters.publish
        ) as delivery,
    ):
        desk.answer = refuses("k_1")
        await delivered(delivery, alert("1"), alert("2"), alert("1", "resolved"))
        assert titles(desk) == ["[critical] burst k_2 opened"]
    assert [(each.alert.state, each.reason) for each in letters] == [
        ("open", "answers 404"),
        ("resolved", "its earlier states were not accepted"),
    ]
    assert metric(delivery, "xm_deliveries_total", receiver="slack", outcome="refused") == 2


async def test_alerts_that_wait_too_long_are_dead_letters_one_by_one():
    clock, letters, desk = TurnedClock(), Letters(), Desk()
    async with Delivery([route(desk.webhook)], publish=letters.publish, clock=clock) as delivery:
        begin = clock.now()
        batches = []
        for name in ("1", "2", "3"):
            batches.append(await delivery.submit([alert(name)]))
            await clock.turn(8 * HOUR)
        await clock.turn_until(lambda: len(letters) == 2, HOUR)
        assert clock.now() - begin >= 32 * HOUR
        async with desk.open():
            await clock.turn_until(lambda: all(batch.done() for batch in batches), 60)
    assert [each.alert.id for each in letters] == ["a_1", "a_2"]
    assert letters[0].reason.startswith("not accepted for 24 hours: Cannot connect to host")
    assert desk.taken == ["a_3 open"]


async def test_redelivery_sends_what_was_not_accepted_once(redis_url: str):
    letters, book = Letters(), AlertBook(redis_url)
    async with Desk().open() as desk:
        way = route(one_by_one(desk))
        async with Delivery([way], ledger=Ledger(book), publish=letters.publish) as delivery:
            desk.answer = in_turn(404, 404)
            await delivered(delivery, STATES[0], STATES[2], STATES[4])
        outcomes = [
            [each.outcome for each in await redeliver(letters, [way], book, time.time())]
            for _ in range(2)
        ]
        assert outcomes == [["delivered"] * 3, ["known"] * 3]
        assert titles(desk) == [EXPECTED[0], EXPECTED[2], EXPECTED[4]]


async def test_redelivery_keeps_order_after_another_refusal(redis_url: str):
    letters = [DeadLetter("slack", "", 0.0, each) for each in (STATES[0], STATES[2], STATES[1])]
    async with Desk().open() as desk:
        desk.answer = in_turn(404)
        way = route(one_by_one(desk))
        done = await redeliver(letters, [way], AlertBook(redis_url), time.time())
        assert [each.outcome for each in done] == ["refused", "refused", "delivered"]
        assert titles(desk) == [EXPECTED[1]]


async def test_redelivered_end_leaves_the_other_alert_on_the_subject_open(redis_url: str):
    book, other = AlertBook(redis_url), replace(alert("1"), id="a_other")
    async with Desk().open() as desk:
        way = route(one_by_one(desk))
        async with Delivery([way], ledger=Ledger(book)) as delivery:
            await delivered(delivery, other)
        letters = [DeadLetter("slack", "", 0.0, STATES[4])]
        (done,) = await redeliver(letters, [way], book, time.time())
        assert done.outcome == "delivered"
        assert titles(desk) == ["[critical] burst k_1 opened"]


async def test_redelivery_to_a_dead_or_unknown_receiver_says_so(redis_url: str):
    letters = [DeadLetter(name, "", 0.0, STATES[1]) for name in ("slack", "gone")]
    dead = route(Slack(Endpoint(f"http://127.0.0.1:{free_port()}", 0.5)))
    done = await redeliver(letters, [dead], AlertBook(redis_url), time.time())
    assert [each.outcome for each in done] == ["away", "no_route"]


async def test_successor_knows_the_open_alerts_of_its_partitions(redis_url: str):
    clock = TurnedClock()
    async with Desk().open() as desk:
        async with Delivery([], ledger=ledger(redis_url), clock=clock) as delivery:
            await delivery.submit([alert("1")], partition=0)
            await delivery.submit([alert("2")], partition=1)
        async with Delivery(
            [route(one_by_one(desk))],
            ledger=ledger(redis_url),
            partitions=lambda: frozenset({1}),
            clock=clock,
        ):
            await clock.turn_until(lambda: titles(desk), TICK)
            assert titles(desk) == [EXPECTED[1]]


async def test_alerts_of_a_partition_that_moved_are_left_to_its_owner(redis_url: str):
    clock, desk, owned, known = TurnedClock(), Desk(), {0, 1}, ledger(redis_url)
    async with Delivery(
        [route(one_by_one(desk))],
        ledger=known,
        partitions=lambda: frozenset(owned),
        clock=clock,
    ) as delivery:
        await clock.turn(TICK)
        moved = [await delivery.submit([alert(name)], partition=0) for name in ("1", "2")]
        kept = await delivery.submit([alert("3")], partition=1)
        # A tick at the same time may queue one of them twice.
        await until(lambda: metric(delivery, "xm_undelivered_alerts", receiver="slack") >= 3)
        owned.remove(0)
        await clock.turn_until(lambda: "a_1" not in known, TICK)
        async with desk.open():
            await clock.turn_until(kept.done, 60)
        assert titles(desk) == ["[critical] burst k_3 opened"]
        assert not moved[1].done()
        await until(lambda: metric(delivery, "xm_undelivered_alerts", receiver="slack") == 0)


async def test_book_forgets_old_alerts(redis_url: str):
    clock, book = TurnedClock(), AlertBook(redis_url)
    async with Delivery([], ledger=Ledger(book), clock=clock) as delivery:
        await delivery.submit([alert("1"), alert("2"), alert("2", "resolved")])
        await clock.turn(KEPT)
        await clock.turn_until(lambda: ids(book) == ["a_1"], TICK)
        await clock.turn(ABANDONED - KEPT)
        await clock.turn_until(lambda: ids(book) == [], TICK)
    assert book.read(["a_1", "a_2"]) == {}


def ids(book: AlertBook) -> list[str]:
    return sorted(entry.alert.id for entry in book.entries())


def test_book_keeps_deliveries_of_two_writers(redis_url: str, cluster_url: str):
    for url in (redis_url, cluster_url):
        book = AlertBook(url)
        book.write([Entry(alert("1"), 3, 1.0, 2.0)])
        marks = [Mark(name, "open", "critical", 1.0) for name in ("pager", "chat")]
        for mark in marks:
            AlertBook(url).mark({"a_1": [mark]}, 5.0)
        (found,) = book.entries(frozenset({3}))
        assert found.marks == dict.fromkeys(marks, 5.0)
        assert (found.alert, found.opened_at) == (alert("1"), 1.0)
        assert list(book.entries(frozenset({4}))) == []
        book.forget(["a_1"])
        assert list(book.entries()) == book.marks("a_1") == []


def test_silence_on_a_cluster_is_audited_and_ends(cluster_url: str):
    book = AlertBook(cluster_url)
    added = silence(book, "k_1", "", HOUR, "ana", "seen")
    assert book.silences(time.time()) == [added]
    assert [each.what for each in ControlStore(cluster_url).audit()] == ["silence"]
    assert book.silences(added.until) == []
