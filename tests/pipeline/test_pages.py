"""Debian's Alertmanager with the shipped routes: one incident, one page. Its times pass faster."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import pytest

from monitor.alerting.alerts import Alert, Severity, Subject
from pipelines.notify import Delivery
from pipelines.notify.delivery import TICK
from pipelines.notify.receivers.alertmanager import REFRESH, Alertmanager
from pipelines.notify.receivers.base import Endpoint
from tests.support import receivers
from tests.support.alertmanager import ShippedAlertmanager
from tests.support.apps import until
from tests.support.programs import program
from tests.support.receivers import TurnedClock, delivered, ledger, route

SPEED = 600.0  # 15 minutes are 1.5 s
SLACK = 3.0  # seconds: on a busy machine, Alertmanager may learn of the campaign that much later
KEYS = [f"k_{n}" for n in range(30)]


@pytest.fixture
def alertmanager(tmp_path: Path) -> ShippedAlertmanager:
    program("prometheus-alertmanager")
    return ShippedAlertmanager(tmp_path / "alertmanager", SPEED, SLACK)


def of(subject: str, kind: str = "elicitation", severity: Severity = "critical") -> Alert:
    found = receivers.alert(f"{subject}_{kind}", severity=severity)
    return msgspec.structs.replace(found, kind=kind, subject=Subject("api_key", subject))


CAMPAIGN = msgspec.structs.replace(of("c_1", "campaign"), subject=Subject("campaign", "c_1", KEYS))


def subjects(pages: Any) -> list[set[str]]:
    return [each.subjects for each in pages]


async def test_campaign_is_one_page_and_a_single_key_another(
    alertmanager: ShippedAlertmanager, redis_url: str
):
    receiver = Alertmanager(Endpoint(alertmanager.url, 5))
    clock = TurnedClock()
    async with alertmanager.notifying():
        with alertmanager:
            way = route(receiver, "warning")
            async with Delivery([way], ledger=ledger(redis_url), clock=clock) as delivery:
                await delivered(delivery, *map(of, KEYS[:20]), of("k_info", severity="info"))
                await delivered(delivery, CAMPAIGN, *(of(key, "combined") for key in KEYS))
                await clock.turn_until(
                    lambda: len(alertmanager.alerts('role="member"')) == len(KEYS), TICK
                )
                await delivered(delivery, of("k_single"), of("k_single", "combined"))
                await until(lambda: {"k_single"} in subjects(alertmanager.pages))
            members = alertmanager.alerts('role="member"')
    assert subjects(alertmanager.pages) == [{"c_1"}, {"k_single"}]
    assert {each["status"]["state"] for each in members} == {"suppressed"}
    everybody = set().union(*(each.subjects for each in alertmanager.notifications))
    assert everybody == {"c_1", "k_single"}


async def test_restarted_alertmanager_misses_nothing_and_pages_nobody_again(
    alertmanager: ShippedAlertmanager, redis_url: str
):
    receiver = Alertmanager(Endpoint(alertmanager.url, 5))
    clock = TurnedClock()
    async with (
        alertmanager.notifying(),
        Delivery([route(receiver)], ledger=ledger(redis_url), clock=clock) as delivery,
    ):
        with alertmanager:
            await delivered(delivery, CAMPAIGN, *map(of, KEYS), of("k_single"))
            await until(lambda: len(alertmanager.pages) >= 2)
            known = alertmanager.subjects()
        with alertmanager:
            begin = clock.now()
            await clock.turn_until(lambda: alertmanager.subjects() == known, TICK)
            assert clock.now() - begin <= REFRESH + 2 * TICK
            await delivered(delivery, of("k_last"))
            await until(lambda: {"k_last"} in subjects(alertmanager.pages))
    assert subjects(alertmanager.pages) == [{"c_1"}, {"k_single"}, {"k_last"}]


async def test_causes_mute_their_consequences(alertmanager: ShippedAlertmanager):
    async with alertmanager.notifying():
        with alertmanager:
            for cause, consequences in CONSEQUENCES.items():
                for alert in (cause, *consequences, f"Other{cause}"):
                    post(alertmanager, alert, instance=cause)
                await until(lambda cause=cause: muted(alertmanager, cause) == CONSEQUENCES[cause])


CONSEQUENCES = {
    "MonitorInputRejected": {"MonitorStarved"},
    "MonitorCheckpointOld": {"MonitorLagging"},
    "MonitorCheckpointFailing": {"MonitorCheckpointOld", "MonitorLagging"},
    "MonitorDown": {"MonitorStarved", "MonitorLagging"},
    "ExtractionKey": {"ExtractionOpen"},
    "ExtractionCampaign": {"ExtractionCampaignOpen", "ExtractionOpen"},
}


def post(alertmanager: ShippedAlertmanager, name: str, **labels: str) -> None:
    """Send an alert as Prometheus does."""
    about = {"alertname": name, "severity": "critical", "service": "extraction-monitor", **labels}
    request = urllib.request.Request(
        f"{alertmanager.url}/api/v2/alerts",
        json.dumps([{"labels": about}]).encode(),
        {"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10).close()


def muted(alertmanager: ShippedAlertmanager, instance: str) -> set[str]:
    return {
        each["labels"]["alertname"]
        for each in alertmanager.alerts(f'instance="{instance}"')
        if each["status"]["state"] == "suppressed"
    }
