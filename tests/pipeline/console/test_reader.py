"""The reader fills the view from Redis and the topics."""

from __future__ import annotations

import time
from types import SimpleNamespace

import msgspec
import pytest

from monitor.alerting.alerts import Alert, Subject
from monitor.config import Settings
from monitor.store.alert_book import AlertBook, Entry
from monitor.store.base import Checkpoint
from monitor.store.control import ControlStore
from monitor.store.operate.erasure import ErasureStore
from monitor.store.redis import RedisStore
from pipelines.console.reader.cost import Prices
from pipelines.console.reader.follow import Topics
from pipelines.console.reader.stored import Stored
from pipelines.console.view import alerts, campaigns, history, keys, search
from pipelines.console.view.database import View, Writer
from tests.support import campaigns as linked

KEY, OTHER = f"k_{1:024x}", f"k_{2:024x}"
ACCOUNT, OTHERS = f"a_{1:024x}", f"a_{2:024x}"


@pytest.fixture
def writer(settings):
    writer = Writer(settings.console.view_file)
    yield writer
    writer.close()


@pytest.fixture
def view(settings):
    return View(settings.console.view_file)


def read(settings: Settings, writer: Writer) -> None:
    Stored(settings, writer, Prices(10.0)).read()


def alert(id: str = "a_1", key: str = KEY, state: str = "open", **changes) -> Alert:
    return Alert(
        id, "burst", state, "critical", 0.9, Subject("api_key", key), 100.0, (50.0, 100.0),
        {"requests": 9.0}, f"{key}: many requests.", "throttle", **changes,
    )  # fmt: skip


def test_reader_shows_alert_of_the_book_and_what_people_did(settings, writer, view):
    now = time.time()
    AlertBook(settings.redis_url).write([Entry(alert(), 0, now, now)])
    control = ControlStore(settings.redis_url)
    change = control.withdraw("a_1", KEY, "burst", "critical", "ada", "a load test")
    block = control.decide(OTHER, "block", 60.0, "bob", "shared key")
    read(settings, writer)

    found = alerts.find_alert(view, "a_1", ())
    assert (found.severity, found.withdrawn) == ("critical", "ada")
    assert [row.id for row in history.audit(view, (), subject=KEY)] == [change.id]
    (in_force,), total = history.decisions_in_force(view, (), now)
    assert (in_force.subject, in_force.decided, total) == (OTHER, "block", 1)
    (decided,) = history.decisions(view, (), subject=OTHER)
    assert (decided.who, decided.reason) == ("bob", block.id)
    control.delete(OTHER, "bob", "a mistake")
    read(settings, writer)
    assert history.decisions_in_force(view, (), now) == ([], 0)
    assert history.decisions(view, (), subject=OTHER)[0].decided == "observe"


def test_reader_shows_campaign_its_members_and_their_traits(settings, writer, view):
    linked.save(RedisStore(settings.redis_url, 1e6), linked.partition(settings))
    read(settings, writer)

    rows, total = campaigns.list_campaigns(view, ())
    assert (total, rows[0].members) == (1, len(linked.FLEET))
    assert rows[0].cost == pytest.approx(rows[0].tokens * 10.0 / 1e6)
    members = campaigns.list_members(view, rows[0].id, (), order="key", limit=3)
    assert [row.key for row in members.rows] == linked.FLEET[::-1][:3]
    assert members.total == len(linked.FLEET)
    system = next(
        s for s in campaigns.campaign_detail(view, rows[0].id).shared if s.kind == "system"
    )
    assert search.find_trait(view, system.id, ()).keys.total == len(linked.FLEET)
    assert campaigns.campaigns_of(view, linked.FLEET[0], ())[0][1] == "member"
    assert keys.count_keys(view, ()) == len(linked.FLEET) + len(linked.ORDINARY)


def test_view_shows_a_tenant_its_own_members_only(settings, writer, view):
    store, known = RedisStore(settings.redis_url, 1e6), linked.partition(settings)
    for key, account in ((linked.FLEET[0], ACCOUNT), (linked.ORDINARY[0], OTHERS)):
        row = known.population.rows["fingerprint"][known.population.index(key)]
        row["account"] = bytearray.fromhex(account[2:])
    linked.save(store, known)
    store.commit(Checkpoint(tenants={ACCOUNT: "acme/", OTHERS: "b/"}))
    read(settings, writer)

    for key, tenant in ((linked.FLEET[0], "acme/"), (OTHERS, "b/")):
        assert keys.find_key(view, key, (tenant,)).tenant == tenant
    (row, *_), _ = campaigns.list_campaigns(view, ("acme/",))
    assert (row.members, row.reason) == (1, "")
    assert campaigns.member_keys(view, row.id, ("acme/",)) == linked.FLEET[:1]
    assert campaigns.list_campaigns(view, ("b/",)) == ([], 0)
    assert campaigns.find_campaign(view, row.id, ("b/",)) is None
    assert search.find(view, linked.FLEET[0], ("b/",)) == []
    assert search.find(view, row.id, ("b/",)) == []


def test_reader_leaves_out_what_was_erased(settings, writer, view):
    now = time.time()
    AlertBook(settings.redis_url).write([Entry(alert(), 0, now, now)])
    read(settings, writer)
    assert keys.find_key(view, KEY, ()) is not None
    ErasureStore(settings.redis_url).request(KEY, "ada", "asked by the customer")
    read(settings, writer)
    assert keys.find_key(view, KEY, ()) is None
    assert alerts.find_alert(view, "a_1", ()) is None
    read(settings, writer)  # the book of this test still has it
    assert alerts.find_alert(view, "a_1", ()) is None


def test_topics_add_each_state_once_and_keep_evidence(settings, writer, view):
    topic = settings.topics.alerts
    ended = alert(state="resolved")
    ended = msgspec.structs.replace(
        ended, detected_at=900.0, evidence={}, summary="resolved", decision="observe"
    )
    records = [
        SimpleNamespace(value=msgspec.json.encode(each), timestamp=1e6, offset=i, topic=topic)
        for i, each in enumerate((alert(), ended, alert()))
    ]
    topics = Topics(settings, writer, Prices(0.0))
    for _ in range(2):
        topics.add(topic, records)
    found = alerts.find_alert(view, "a_1", ())
    assert (found.state, found.summary) == ("resolved", alert().summary)
    assert [m.state for m in alerts.alert_messages(view, ["a_1"], ())] == ["open", "resolved"]
    assert keys.find_key(view, KEY, ()).severity is None


def test_view_of_another_version_is_emptied(settings, writer, view):
    AlertBook(settings.redis_url).write([Entry(alert(), 0, 1.0, 1.0)])
    read(settings, writer)
    writer.connection.execute("PRAGMA user_version = 99")
    Writer(settings.console.view_file).close()
    assert alerts.find_alert(view, "a_1", ()) is None
