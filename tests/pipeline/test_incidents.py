"""People get one incident per subject, and the campaign's in place of those of its keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import msgspec

from monitor.alerting.alerts import Action, Alert, Severity, State, Subject
from monitor.store.alert_book import AlertBook, Entry
from monitor.store.control import ControlStore
from pipelines.notify import Delivery
from pipelines.notify.delivery import TICK
from pipelines.notify.incidents.ledger import Ledger
from pipelines.notify.listing import find_alert, list_alerts
from pipelines.notify.receivers.base import Endpoint
from pipelines.notify.receivers.pagerduty import PagerDuty
from pipelines.notify.silencing import silence
from tests.support import receivers
from tests.support.receivers import Desk, TurnedClock, delivered, ledger, route

WAIT = 900.0


def of_key(
    key: str,
    kind: str = "elicitation",
    state: State = "open",
    severity: Severity = "critical",
    at: float = 0.0,
    decision: Action = "block",
) -> Alert:
    return msgspec.structs.replace(
        receivers.alert(f"{key}_{kind}", state, severity),
        kind=kind,
        subject=Subject("api_key", f"k_{key}"),
        detected_at=receivers.NOW + at,
        decision=decision,
    )


def campaign(
    keys: Sequence[str], state: State = "open", severity: Severity = "critical", at: float = 0.0
) -> Alert:
    found = of_key("c", "campaign", state, severity, at)
    return msgspec.structs.replace(found, subject=Subject("campaign", "c_1", [*keys]))


def pager(desk: Desk) -> PagerDuty:
    return PagerDuty(Endpoint(desk.url, 0.5, secret="key"))


def events(desk: Desk) -> list[tuple[str, str, str]]:
    """Action, incident and severity of what a pager got."""
    return [
        (
            body["event_action"],
            body["dedup_key"],
            body["payload"]["severity"] if "payload" in body else "",
        )
        for _, _, body in desk.accepted
    ]


def incidents(desk: Desk) -> list[str]:
    """What opened at a pager, in order."""
    return list(dict.fromkeys(key for action, key, _ in events(desk) if action == "trigger"))


async def settled(clock: TurnedClock, seconds: float = 4 * TICK) -> None:
    """Let some ticks pass, after the reads and writes of what was delivered."""
    await asyncio.sleep(0.2)
    begin = clock.now()
    await clock.turn_until(lambda: clock.now() - begin >= seconds, TICK)


async def test_alerts_on_one_key_are_one_incident():
    async with Desk().open() as desk, Delivery([route(pager(desk), "warning")]) as delivery:
        await delivered(delivery, of_key("1", severity="warning"), of_key("1", "combined"))
        await delivered(delivery, of_key("1", state="resolved", at=9.0, severity="warning"))
        assert [action for action, *_ in events(desk)] == ["trigger", "trigger"]
        await delivered(delivery, of_key("1", "combined", "resolved", at=10.0))
    assert events(desk) == [
        ("trigger", "k_1", "warning"),
        ("trigger", "k_1", "critical"),
        ("resolve", "k_1", ""),
    ]


async def test_chat_gets_a_message_for_the_opening_and_the_end_only():
    async with Desk().open() as desk, Delivery([route(receivers.one_by_one(desk))]) as delivery:
        kinds = ("elicitation", "combined", "coverage")
        for state, at in (("open", 0.0), ("resolved", 60.0)):
            for kind in kinds:
                await delivered(delivery, of_key("1", kind, state, at=at))
        assert receivers.titles(desk) == [
            "[critical] elicitation k_1 opened",
            "[critical] coverage k_1 resolved",
        ]


async def test_incident_has_the_strongest_decision_and_all_kinds():
    async with Desk().open() as desk, Delivery([route(pager(desk))]) as delivery:
        await delivered(delivery, of_key("1", "burst", severity="warning", decision="throttle"))
        await delivered(delivery, of_key("1", "elicitation", at=1.0))
        await delivered(delivery, of_key("1", "combined", at=2.0, decision="challenge"))
    details = desk.accepted[-1][2]["payload"]["custom_details"]
    assert details["Decision"] == "block"
    assert details["Kind"] == "elicitation, combined, burst"


async def test_campaign_pages_once_for_250_keys_and_late_joiners(redis_url: str):
    keys, clock = [f"k_{n}" for n in range(250)], TurnedClock()
    way = route(pager(desk := Desk()), "critical", wait_seconds=WAIT)
    async with desk.open(), Delivery([way], ledger=ledger(redis_url), clock=clock) as delivery:
        await delivered(delivery, *(of_key(str(n)) for n in range(250)))
        await settled(clock)
        assert desk.accepted == []
        await delivered(delivery, campaign(keys[:240]))
        await clock.turn(WAIT / 2)
        await delivered(delivery, campaign(keys, "update", at=60.0))
        await delivered(delivery, *(of_key(str(n), "combined", at=90.0) for n in range(250)))
        await settled(clock, 2 * WAIT)
        assert incidents(desk) == ["c_1"]


async def test_key_without_a_campaign_pages_after_the_wait(redis_url: str):
    clock = TurnedClock()
    way = route(pager(desk := Desk()), "critical", wait_seconds=WAIT)
    async with desk.open(), Delivery([way], ledger=ledger(redis_url), clock=clock) as delivery:
        await delivered(delivery, of_key("1"))
        begin = clock.now()
        await clock.turn_until(lambda: desk.accepted, TICK)
        assert clock.now() - begin >= WAIT
    assert events(desk) == [("trigger", "k_1", "critical")]


async def test_key_that_waits_is_paged_by_the_successor_of_a_killed_worker(redis_url: str):
    clock = TurnedClock()
    way = route(pager(desk := Desk()), "critical", wait_seconds=WAIT)
    async with desk.open():
        async with Delivery([way], ledger=ledger(redis_url), clock=clock) as delivery:
            await delivered(delivery, of_key("1"))
        async with Delivery(
            [way], ledger=ledger(redis_url), partitions=lambda: frozenset({0}), clock=clock
        ):
            await clock.turn_until(lambda: desk.accepted, TICK)
    assert incidents(desk) == ["k_1"]


async def test_key_does_not_wait_while_redis_is_away():
    away = f"redis://127.0.0.1:{receivers.free_port()}/0"
    way = route(pager(desk := Desk()), "critical", wait_seconds=WAIT)
    async with desk.open(), Delivery([way], ledger=ledger(away)) as delivery:
        await delivered(delivery, of_key("1"))
    assert incidents(desk) == ["k_1"]


async def test_critical_member_raises_a_campaign_of_warning_once(redis_url: str):
    clock = TurnedClock()
    way = route(pager(desk := Desk()), "critical", wait_seconds=WAIT)
    async with desk.open(), Delivery([way], ledger=ledger(redis_url), clock=clock) as delivery:
        await delivered(delivery, campaign(["k_1", "k_2"], severity="warning"))
        await settled(clock)
        assert desk.accepted == []
        await delivered(delivery, of_key("1", at=60.0), of_key("2", at=61.0))
        await clock.turn_until(lambda: desk.accepted, TICK)
        await settled(clock, 2 * WAIT)
        await delivered(delivery, campaign(["k_1", "k_2"], "resolved", "warning", at=99.0))
    assert events(desk) == [("trigger", "c_1", "critical"), ("resolve", "c_1", "")]


async def test_page_of_a_key_ends_when_a_campaign_takes_it_over(redis_url: str):
    clock = TurnedClock()
    async with (
        Desk().open() as desk,
        Delivery([route(pager(desk))], ledger=ledger(redis_url), clock=clock) as delivery,
    ):
        await delivered(delivery, of_key("1"))
        await delivered(delivery, campaign(["k_1"], at=60.0))
        await clock.turn_until(lambda: len(desk.accepted) == 3, TICK)
    assert events(desk) == [
        ("trigger", "k_1", "critical"),
        ("trigger", "c_1", "critical"),
        ("resolve", "k_1", ""),
    ]


async def test_campaign_of_another_worker_stands_for_its_members(redis_url: str, cluster_url: str):
    for url in (redis_url, cluster_url):
        clock = TurnedClock()
        way = route(pager(desk := Desk()), wait_seconds=WAIT)
        async with (
            desk.open(),
            Delivery([way], ledger=_ledger(url), clock=clock) as first,
            Delivery([way], ledger=_ledger(url), clock=clock) as second,
        ):
            await delivered(first, of_key("1"))
            await delivered(second, campaign(["k_1"], severity="warning", at=60.0))
            await clock.turn_until(lambda desk=desk: len(desk.accepted) == 2, TICK)
            await settled(clock, 2 * WAIT)
        assert events(desk) == [("trigger", "c_1", "warning"), ("trigger", "c_1", "critical")]


def _ledger(url: str) -> Ledger:
    return Ledger(AlertBook(url), ControlStore(url))


async def test_key_that_gets_worse_after_its_campaign_has_ended_pages_again(redis_url: str):
    clock = TurnedClock()
    async with (
        Desk().open() as desk,
        Delivery([route(pager(desk))], ledger=ledger(redis_url), clock=clock) as delivery,
    ):
        await delivered(delivery, campaign(["k_1"]), of_key("1", severity="warning"))
        await delivered(delivery, campaign(["k_1"], "resolved", at=60.0))
        await settled(clock)
        assert incidents(desk) == ["c_1"]
        await clock.turn(TICK)
        await delivered(delivery, of_key("1", state="update", at=120.0))
        await clock.turn_until(lambda: len(incidents(desk)) == 2, TICK)
    assert incidents(desk) == ["c_1", "k_1"]


async def test_silence_on_a_campaign_covers_its_members(redis_url: str):
    clock = TurnedClock(time.time())
    silence(AlertBook(redis_url), "c_1", "", 30 * 86_400.0, "ana", "known")
    async with (
        Desk().open() as desk,
        Delivery([route(pager(desk))], ledger=ledger(redis_url), clock=clock) as delivery,
    ):
        await delivered(delivery, campaign(["k_1"]), of_key("1"))
        await settled(clock)
        assert desk.accepted == []


async def test_account_stands_for_its_keys_and_a_campaign_for_the_account(redis_url: str):
    clock = TurnedClock()
    account = msgspec.structs.replace(
        of_key("a", "burst"), id="a_a", subject=Subject("account", "a_1", ["k_1"])
    )
    way = route(pager(desk := Desk()))
    async with desk.open(), Delivery([way], ledger=ledger(redis_url), clock=clock) as delivery:
        await delivered(delivery, account)
        await delivered(delivery, of_key("1"))
        await settled(clock)
        assert incidents(desk) == ["a_1"]
        await delivered(delivery, campaign(["a_1"], at=60.0))
        await clock.turn_until(lambda: ("resolve", "a_1", "") in events(desk), TICK)
    assert incidents(desk) == ["a_1", "c_1"]


async def test_commands_show_one_decision_on_a_subject(redis_url: str):
    book, control = AlertBook(redis_url), ControlStore(redis_url).read()
    async with Delivery([], ledger=ledger(redis_url)) as delivery:
        await delivered(delivery, of_key("1", "burst", decision="throttle"))
        await delivered(delivery, of_key("1", "combined", decision="challenge"))
        shown = list_alerts(book, control, receivers.NOW)
        assert {view.alert.decision for view in shown} == {"challenge"}
        await delivered(delivery, campaign(["k_1"]))
        shown = list_alerts(book, control, receivers.NOW)
        assert {view.alert.decision for view in shown} == {"block"}
        one = find_alert(book, control, "a_1_burst", receivers.NOW)
        assert one.alert.decision == "block"


async def test_tools_get_every_alert_as_it_is(redis_url: str):
    clock, desk = TurnedClock(), Desk()
    way = route(desk.webhook, wait_seconds=WAIT)
    async with desk.open(), Delivery([way], ledger=ledger(redis_url), clock=clock) as delivery:
        await delivered(delivery, campaign(["k_1"], severity="warning"))
        await delivered(delivery, of_key("1"), of_key("1", "combined"))
        await settled(clock)
    assert desk.taken == ["a_c_campaign open", "a_1_elicitation open", "a_1_combined open"]


async def test_second_kind_is_delivered_if_the_first_is_refused():
    async with Desk().open() as desk, Delivery([route(receivers.one_by_one(desk))]) as delivery:
        desk.answer = receivers.in_turn(400)
        await delivered(delivery, of_key("1"), of_key("1", "combined"))
    assert receivers.titles(desk) == ["[critical] combined k_1 opened"]


async def test_members_are_entered_only_as_part_of_their_campaign(redis_url):
    class Book(AlertBook):
        def wholes(self, subjects):
            seen.append(found.open_entries)  # as a tick would see them meanwhile
            return super().wholes(subjects)

        def join(self, members, id):
            seen.append(found.open_entries)
            super().join(members, id)

    seen: list[list[Entry]] = []
    found = Ledger(Book(redis_url))
    alerts = [campaign(["k_1"]), of_key("1")]
    await found.observe(alerts, 0, receivers.NOW)
    assert seen
    assert not any(seen)
    assert [each.alert.id for each in found.wholes_of(alerts[1])] == [alerts[0].id]


async def test_account_takes_no_member_of_a_campaign_that_comes_with_it(redis_url):
    account = msgspec.structs.replace(
        of_key("a"), id="a_account", subject=Subject("account", "a_1", ["k_1"])
    )
    found = ledger(redis_url)
    await found.observe([campaign(["k_1"]), account, of_key("1")], 0, receivers.NOW)
    assert [each.alert.subject.id for each in found.wholes_of(of_key("1"))] == ["c_1"]
