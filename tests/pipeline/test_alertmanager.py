from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from monitor.alerting.alerts import Alert
from pipelines.demo.embedded import free_port
from pipelines.notify import Delivery
from pipelines.notify.delivery import TICK
from pipelines.notify.receivers.alertmanager import HELD, REFRESH, Alertmanager
from pipelines.notify.receivers.base import Endpoint
from tests.support import alertmanager as servers
from tests.support.apps import until
from tests.support.programs import program
from tests.support.receivers import TurnedClock, alert, delivered, metric, route, serving


class RealAlertmanager(servers.Alertmanager):
    """Debian's Alertmanager, which notifies `notified_port` on this machine."""

    def __init__(self, folder: Path) -> None:
        self.notified_port = free_port()
        super().__init__(
            folder,
            "route: {receiver: desk, group_by: [subject], group_wait: 1s, group_interval: 1s}\n"
            "receivers:\n- name: desk\n  webhook_configs:\n"
            f"  - {{url: 'http://127.0.0.1:{self.notified_port}/notify', send_resolved: true}}\n",
        )
        self.receiver = Alertmanager(Endpoint(self.url, 2))

    def active(self, name: str) -> list[dict[str, Any]]:
        return self.alerts(f'subject="k_{name}"')

    @contextlib.asynccontextmanager
    async def notifications(self) -> AsyncIterator[list[dict[str, str]]]:
        """The state by severity of each notification, as a person on call gets it."""
        seen: list[dict[str, str]] = []

        async def take(request: web.Request) -> web.Response:
            alerts = (await request.json())["alerts"]
            seen.append({each["labels"]["severity"]: each["status"] for each in alerts})
            return web.Response()

        async with serving(take, self.notified_port):
            yield seen


@pytest.fixture
def alertmanager(tmp_path: Path) -> RealAlertmanager:
    program("prometheus-alertmanager")
    return RealAlertmanager(tmp_path)


async def sent(alertmanager: RealAlertmanager, *states: Alert) -> Delivery:
    """Deliver states one after the other, and stop."""
    async with Delivery([route(alertmanager.receiver)]) as delivery:
        for state in states:
            await delivered(delivery, state)
    return delivery


ESCALATION = (alert("1", severity="warning"), alert("1", "update", "critical"))
END = alert("1", "resolved", "critical")


async def test_alertmanager_shows_an_open_alert_of_months_ago(alertmanager: RealAlertmanager):
    with alertmanager:
        await sent(alertmanager, alert("1"))
        (shown,) = alertmanager.active("1")
    assert shown["status"]["state"] == "active"
    assert shown["annotations"]["detected"] == "2026-02-25 17:20 UTC"


async def test_update_changes_the_alert_in_alertmanager(alertmanager: RealAlertmanager):
    with alertmanager:
        later = msgspec.structs.replace(alert("1", "update"), decision="block")
        await sent(alertmanager, alert("1"), later)
        (shown,) = alertmanager.active("1")
    assert shown["annotations"]["decision"] == "block"


async def test_escalated_alert_is_active_once(alertmanager: RealAlertmanager):
    with alertmanager:
        await sent(alertmanager, *ESCALATION)
        (shown,) = alertmanager.active("1")
    assert shown["labels"]["severity"] == "critical"


async def test_resolved_alert_is_not_active(alertmanager: RealAlertmanager):
    with alertmanager:
        await sent(alertmanager, *ESCALATION, END)
        assert alertmanager.active("1") == []


async def test_alert_opened_and_resolved_at_once_is_not_active(alertmanager: RealAlertmanager):
    with alertmanager:
        async with Delivery([route(alertmanager.receiver)]) as delivery:
            await delivered(delivery, *ESCALATION, END)
        assert alertmanager.active("1") == []


async def test_alerts_arrive_when_alertmanager_starts(alertmanager: RealAlertmanager):
    async with Delivery([route(alertmanager.receiver)]) as delivery:
        batch = await delivery.submit([alert("1"), alert("2"), alert("2", "resolved")])
        await until(lambda: metric(delivery, "xm_receiver_up", receiver="alertmanager") == 0)
        with alertmanager:
            await asyncio.wait_for(batch, 60)
            assert len(alertmanager.active("1")) == 1
            assert alertmanager.active("2") == []


async def test_alertmanager_notifies_of_an_escalation_only(alertmanager: RealAlertmanager):
    async with (
        alertmanager.notifications() as seen,
        Delivery([route(alertmanager.receiver)]) as delivery,
    ):
        with alertmanager:
            for count, state in enumerate((*ESCALATION, END), start=1):
                await delivered(delivery, state)
                await until(lambda count=count: len(seen) == count)
    assert seen[:2] == [{"warning": "firing"}, {"warning": "resolved", "critical": "firing"}]
    assert seen[2]["critical"] == "resolved"


async def test_alert_from_before_the_book_resolves(alertmanager: RealAlertmanager):
    with alertmanager:
        await sent(alertmanager, alert("1"))
        await sent(alertmanager, END)  # by a process that knows nothing of the first
        assert alertmanager.active("1") == []


async def test_restarted_alertmanager_learns_the_open_alerts(alertmanager: RealAlertmanager):
    clock = TurnedClock()
    async with Delivery([route(alertmanager.receiver)], clock=clock) as delivery:
        with alertmanager:
            await delivered(delivery, *ESCALATION, alert("2"), alert("2", "resolved"), alert("3"))
        shutil.rmtree(alertmanager.folder / "data")
        with alertmanager:
            assert alertmanager.active("1") == []
            both = ("1", "3")
            await clock.turn_until(lambda: all(map(alertmanager.active, both)), REFRESH)
            (shown,) = alertmanager.active("1")
            assert shown["labels"]["severity"] == "critical"
            assert alertmanager.active("2") == []


async def test_open_alert_is_sent_again_before_it_ends(alertmanager: RealAlertmanager):
    clock = TurnedClock()
    async with Delivery([route(alertmanager.receiver)], clock=clock) as delivery:
        with alertmanager:
            await delivered(delivery, alert("1"))
            (first,) = alertmanager.active("1")
            await clock.turn_until(
                lambda: alertmanager.active("1")[0]["endsAt"] > first["endsAt"], REFRESH
            )
    assert REFRESH + TICK < HELD
