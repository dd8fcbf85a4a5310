"""Alerts that are held back: outside of hours, silenced, withdrawn."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import msgspec

from monitor.alerting.alerts import Alert
from monitor.store.alert_book import AlertBook
from monitor.store.control import ControlStore
from pipelines.notify import Delivery
from pipelines.notify.delivery import TICK
from pipelines.notify.incidents.ledger import Ledger
from pipelines.notify.receivers.alertmanager import REFRESH, Alertmanager
from pipelines.notify.route import Route, parse_hours
from pipelines.notify.silencing import silence
from tests.support.receivers import (
    EXPECTED,
    STATES,
    Desk,
    TurnedClock,
    alert,
    delivered,
    ledger,
    one_by_one,
    route,
    titles,
)

HOUR = 3600.0


async def test_open_alert_is_delivered_when_hours_begin():
    clock = TurnedClock(datetime(2026, 11, 2, 7, 0, tzinfo=UTC).timestamp())
    async with Desk().open() as desk:
        office = Route(one_by_one(desk), hours=parse_hours("Mon-Fri 08:00-18:00", "hours"))
        async with Delivery([office], clock=clock) as delivery:
            await delivered(delivery, alert("1"), alert("2"), alert("2", "resolved"))
            await clock.turn(HOUR - TICK)
            assert titles(desk) == []
            await clock.turn_until(lambda: titles(desk), TICK)
            assert titles(desk) == ["[critical] burst k_1 opened"]
            await clock.turn(12 * HOUR)
            await delivered(delivery, alert("1", "resolved"))
            assert titles(desk)[1:] == ["[critical] burst k_1 resolved"]


async def test_silenced_alert_is_delivered_after_the_silence(redis_url: str):
    clock, book = TurnedClock(time.time()), AlertBook(redis_url)
    async with (
        Desk().open() as desk,
        Delivery([route(one_by_one(desk))], ledger=ledger(redis_url), clock=clock) as delivery,
    ):
        silence(book, "k_1", "", HOUR, "ana", "planned load test")
        await delivered(delivery, alert("1"), alert("2"))
        assert titles(desk) == ["[critical] burst k_2 opened"]
        await clock.turn_until(lambda: len(desk.accepted) == 2, HOUR / 2)
    assert titles(desk)[1] == "[critical] burst k_1 opened"


async def test_silence_does_not_hide_the_end_of_an_alert(redis_url: str):
    async with (
        Desk().open() as desk,
        Delivery([route(one_by_one(desk))], ledger=ledger(redis_url)) as delivery,
    ):
        await delivered(delivery, STATES[0])
        silence(AlertBook(redis_url), "a_1", "", HOUR, "ana", "seen")
        await delivered(delivery, STATES[2], STATES[4])
    assert titles(desk) == [EXPECTED[0], EXPECTED[4]]


async def test_withdrawn_alert_comes_back_only_when_more_severe(redis_url: str):
    async with (
        Desk().open() as desk,
        Delivery([route(one_by_one(desk))], ledger=ledger(redis_url)) as delivery,
    ):
        await delivered(delivery, STATES[0])
        store = ControlStore(redis_url)
        store.withdraw("a_1", "k_1", "burst", "warning", "ana", "our own CI")
        later = msgspec.structs.replace(STATES[0], id="a_3", detected_at=STATES[0].detected_at + 9)
        await delivered(delivery, later)
        assert titles(desk) == [EXPECTED[0]]
        await delivered(
            delivery, msgspec.structs.replace(later, state="update", severity="critical")
        )
        assert titles(desk)[1:] == ["[critical] burst k_1 more severe"]


async def test_withdrawn_alert_ends_at_once_and_only_once(redis_url: str):
    clock = TurnedClock()
    async with (
        Desk().open() as desk,
        Delivery([route(one_by_one(desk))], ledger=ledger(redis_url), clock=clock) as delivery,
    ):
        await delivered(delivery, STATES[0])
        ControlStore(redis_url).withdraw("a_1", "k_1", "burst", "warning", "ana", "our own CI")
        await clock.turn_until(lambda: len(desk.accepted) == 2, TICK)
        assert titles(desk) == [EXPECTED[0], "[warning] burst k_1 resolved"]
        assert "withdrawn by ana" in str(desk.accepted[1])
        later = msgspec.structs.replace(STATES[4], detected_at=STATES[4].detected_at + 60)
        await delivered(delivery, later)  # as the engine ends it
        await clock.turn(10 * TICK)
        assert len(desk.accepted) == 2


async def test_silenced_alert_does_not_end_in_alertmanager():
    clock, book = TurnedClock(), Silent()
    async with Desk().open() as desk:
        receiver = Alertmanager(desk.endpoint)
        async with Delivery([route(receiver)], ledger=book, clock=clock) as delivery:
            await delivered(delivery, STATES[0])
            book.silent = True
            await delivered(delivery, STATES[2])
            await clock.turn_until(lambda: len(desk.accepted) == 2, REFRESH)
    assert {each["labels"]["severity"] for _, _, body in desk.accepted for each in body} == {
        "warning"
    }


class Silent(Ledger):
    """A ledger in memory in which everything may be silenced."""

    silent = False

    def is_suppressed(self, alert: Alert, now: float) -> bool:
        return self.silent
