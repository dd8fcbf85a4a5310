"""Everything that others write is hostile, and everything of other tenants is hidden."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from httpx2 import Response

from monitor.alerting.alerts import Alert, alert_id
from monitor.batch import Batch
from monitor.campaigns.imported import ImportSeen
from monitor.config import Cases, Settings
from monitor.engine import Engine
from monitor.evidence.entries import AlertSeen
from monitor.evidence.keys import new_key
from monitor.identity import from_settings
from monitor.store.alert_book import Entry
from monitor.store.control import ControlStore
from monitor.store.redis import RedisStore
from pipelines.cases import desk
from pipelines.console.app import PAGES
from pipelines.console.reader.cost import Prices
from pipelines.console.reader.stored import Stored
from pipelines.console.view.database import Writer
from pipelines.notify.silencing import silence
from pipelines.sharing.formats.stix import campaign_objects, to_json
from pipelines.sharing.formats.stix_reader import read_objects
from tests.support import campaigns as linked
from tests.support.cases import campaign_alert, key_alert
from tests.support.console import OpenPages, Pages
from tests.support.markup import Markup
from tests.support.requests import request
from tests.support.sharing import shared_campaign

SCRIPT = "<script>alert(1)</script>"
HOSTILE = f"\"'><img src=x onerror=alert(1)>{SCRIPT}{{{{7*7}}}}{{0.__class__}}</textarea>"
CAMPAIGN = "c_0123456789ab"
MEMBERS = [f"k_{'ac' * 5}{n:014x}" for n in range(2)] + [f"k_{'be' * 5}{n:014x}" for n in range(10)]
OTHERS = [f"k_{'be' * 5}{n:014x}" for n in range(100, 140)]
OURS, THEIRS = MEMBERS[0], MEMBERS[5]
ACCOUNT = "a_" + "be" * 12


class World(NamedTuple):
    """What is stored: a campaign of two tenants, with alerts, decisions, cases and changes.

    Attributes:
        cases: on a key of each tenant.
        alerts: the same, and of the campaign.
    """

    cases: list[str]
    alerts: list[str]


def named(alert: Alert) -> Alert:
    """An alert with an id as the monitor makes them, and a hostile summary."""
    id = alert_id(alert.subject.id, alert.kind, 0.0)
    return msgspec.structs.replace(alert, id=id, summary=f"{alert.subject.id} {HOSTILE}")


def from_partner() -> ImportSeen:
    """What is kept of a STIX bundle of a partner whose names are hostile."""
    shared = campaign_objects(shared_campaign("3f9a12bc"), SCRIPT)
    reading = read_objects(to_json(shared))
    received, name = reading.indicators[0], reading.names[reading.indicators[0].by]
    assert name == SCRIPT
    what = received.id, received.kind, received.value, received.by
    return ImportSeen(*what, name, HOSTILE, 3, first_seen=1.0, last_seen=2.0, nats=0.5)


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    cases = Cases(key_file=tmp_path / "case.pem")
    new_key(cases)
    console = settings.console.model_copy(update={"requests_per_second": 1e4})
    return settings.model_copy(update={"cases": cases, "console": console})


@pytest.fixture
def world(settings: Settings, open_pages: OpenPages, monkeypatch: pytest.MonkeyPatch) -> World:
    """Fill Redis and the view."""
    for name, value in (("FLEET", MEMBERS), ("ORDINARY", OTHERS), ("NEIGHBOUR", OTHERS[0])):
        monkeypatch.setattr(linked, name, value)
    known = linked.partition(settings)
    known.rounds.campaigns[0].id = CAMPAIGN
    known.rounds.campaigns[0].reason = HOSTILE
    known.rounds.campaigns[0].imported = [from_partner()]
    linked.save(RedisStore(settings.redis_url, 1e6), known)
    pages, now = open_pages("admin", name="seeder"), time.time()
    console, control = pages.console, ControlStore(settings.redis_url)
    alerts = [named(key_alert(each, at=now)) for each in (OURS, THEIRS)]
    alerts.append(named(campaign_alert(members=MEMBERS, at=now, subject=CAMPAIGN)))
    console.book.write([Entry(each, 0, now, now) for each in alerts])
    cases = []
    for alert in alerts[:2]:
        case = console.cases.store.open_case(
            alert.subject.id, "api_key", HOSTILE, "x<b>", alert=alert.id
        )
        console.cases.store.append(case, AlertSeen(alert), "monitor", source=f"alerts:0:{case}")
        desk.note(console.cases.store, case, HOSTILE, "x<b>")
        cases.append(case)
    why: dict[str, Any] = {"who": "x<b>", "why": HOSTILE}
    for subject in (OURS, THEIRS, ACCOUNT):
        control.decide(subject, "throttle", 600.0, rate=9.0, **why)
        control.allow(subject, HOSTILE, 600.0, **why)
        silence(console.book, subject, "", 600.0, "x<b>", HOSTILE)
    control.allow("n_" + "0" * 16, HOSTILE, 600.0, **why)
    control.switch("shadow", True, kind="burst", **why)
    for alert in alerts:
        about = alert.subject.id, alert.kind, alert.severity
        control.withdraw(alert.id, *about, members=alert.subject.members, **why)
    writer = Writer(settings.console.view_file)
    Stored(settings, writer, Prices(10.0)).read()
    with writer.transaction() as view:
        tenants = [("acme/" if each in MEMBERS[:2] else "beta/", each) for each in MEMBERS + OTHERS]
        view.executemany("UPDATE keys SET tenant = ? WHERE key = ?", tenants)
        view.execute("DELETE FROM campaign_tenants")
        for tenant in ("acme/", "beta/"):
            view.execute("INSERT INTO campaign_tenants VALUES (?, ?)", (CAMPAIGN, tenant))
    writer.close()
    return World(cases, [each.id for each in alerts])


def crawl(pages: Pages, starts: list[str]) -> Iterator[tuple[str, Response]]:
    """The pages that links lead to, each kind of page a few times."""
    seen, times = set[str](), Counter[str]()
    waiting = list(starts)
    while waiting:
        path = waiting.pop(0)
        kind = path.partition("?")[0].rpartition("/")[0] + "?" * ("?" in path)
        if path in seen or times[kind] >= 5 or path.startswith(("/static/", "/events")):
            continue
        if "/incident." in path:  # a file, which takes long to write
            continue
        seen.add(path)
        times[kind] += path not in starts
        answer = pages.client.get(path)
        yield path, answer
        if answer.headers.get("content-type", "").startswith("text/html"):
            waiting += sorted(Markup(answer.text).links - seen)


def starts(world: World) -> list[str]:
    """The pages without a parameter, and those of everything in the world."""
    found = [route.path for pages in PAGES for route in pages if "GET" in (route.methods or ())]
    ids = [f"/keys/{each}" for each in (OURS, THEIRS, ACCOUNT, OTHERS[0])]
    ids += [f"/cases/{each}" for each in world.cases] + [f"/campaigns/{CAMPAIGN}"]
    ids += [f"/alerts/{each}" for each in world.alerts]
    ids += [f"/decisions?subject={each}" for each in (OURS, THEIRS, ACCOUNT)]
    ids += [f"/audit?subject={each}" for each in (CAMPAIGN, THEIRS)]
    return [path for path in found if "{" not in path] + ids


def test_no_page_runs_what_others_wrote_or_leads_elsewhere(
    open_pages: OpenPages, world: World
) -> None:
    pages, shown = open_pages("admin", name="eve<script>"), 0
    for path, answer in crawl(pages, starts(world)):
        assert answer.status_code < 500, path
        if answer.headers.get("content-type", "").startswith("text/html"):
            assert Markup(answer.text).faults == [], path
            assert SCRIPT not in answer.text, path
            assert "{{49}}" not in answer.text, path
            assert path != f"/campaigns/{CAMPAIGN}" or "&lt;script" in answer.text
            shown += "&lt;script&gt;alert(1)" in answer.text
    assert shown >= 5  # or nothing hostile was tried


def test_what_a_client_sent_reaches_no_page(open_pages: OpenPages, settings: Settings) -> None:
    store, identity = RedisStore(settings.redis_url, 86_400), from_settings(settings)
    engine = Engine(settings, identity, store)
    engine.assign("requests:0")
    sent = {"user_agent": SCRIPT, "model": SCRIPT, "account": SCRIPT * 2, "country": SCRIPT}
    values = [request(SCRIPT, 20.0 * i, SCRIPT, system=SCRIPT, **sent) for i in range(40)]
    engine.observe(Batch("requests:0", range(len(values)), values))
    store.commit(engine.snapshot())
    pages, key = open_pages("admin"), identity.key(SCRIPT)
    for path in (f"/keys/{key}", f"/keys/{identity.account(SCRIPT * 2)}"):
        answer = pages.get(path)
        assert answer.status_code == 200
        assert "alert(1)" not in answer.text
        assert Markup(answer.text).faults == []
    found = pages.submit("/search", query=SCRIPT, kind="key")
    assert found.headers["location"] == f"/keys/{key}"
    assert SCRIPT not in pages.submit("/search", query=f"{SCRIPT}?", kind="any").text


def test_no_page_shows_what_belongs_to_another_tenant(open_pages: OpenPages, world: World) -> None:
    pages = open_pages("admin", tenants=("acme/",))
    hidden, seen = {THEIRS, ACCOUNT, OTHERS[0], world.cases[1], world.alerts[1]}, ""
    for path, answer in crawl(pages, starts(world)):
        text = answer.text.replace(path.rpartition("=")[2], "")  # a filter is shown again
        assert "bebebebebe" not in text, path
        assert world.cases[1] not in text, path
        asked = path.rpartition("/")[2]
        assert '"members":12' not in text, path
        assert not (asked in hidden and answer.status_code < 400), path
        seen += text
    assert OURS in seen
    assert world.cases[0] in seen
    for query in (THEIRS, THEIRS[:12], ACCOUNT, world.cases[1], world.alerts[1]):
        answer = pages.submit("/search", query=query)
        assert answer.status_code == 200  # not led to a page
        assert "bebebebebe" not in answer.text.replace(query, "")
