import threading
from contextlib import suppress

import msgspec
import pytest
import redis

from monitor.alerting.decisions import Decision
from monitor.alerting.enforcement import Control, effective
from monitor.errors import InputError, StoreError, StoreRefusedError, StoreUnavailableError
from monitor.store import control, inventory
from monitor.store.base import Checkpoint
from monitor.store.control import ControlStore
from monitor.store.feed import START
from monitor.store.redis import RedisStore

KEY, OTHER, PAYMENT = "k_" + "1" * 24, "k_" + "2" * 24, "p_" + "3" * 16
BY = {"who": "ann", "why": "INC-7"}
DECISION = Decision(KEY, "block", "a_1", 0.0, 600.0, kind="elicitation", ties=(PAYMENT,))


@pytest.fixture(params=["redis_url", "cluster_url"])
def url(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def store(url):
    return ControlStore(url)


def decided(url, *decisions):
    RedisStore(url, 100).commit(Checkpoint(decisions=list(decisions)))


def applies(store, key=KEY):
    found = [each for each in inventory.decisions(store.server) if each.key == key]
    return effective(found, store.read(), 0.0, shadow=False)


def test_control_is_empty_at_first(store):
    assert (store.read(), list(store.audit()), store.position()) == (Control(), [], START)


@pytest.mark.parametrize(
    ("change", "what", "subject", "why"),
    [
        (lambda store: store.switch("kill", True, **BY), "kill", "", "kill"),
        (lambda store: store.switch("shadow", True, **BY), "shadow", "", "shadow"),
        (
            lambda store: store.switch("shadow", True, **BY, kind="elicitation"),
            "shadow",
            "elicitation",
            "shadow",
        ),
        (lambda store: store.allow(KEY, "sales", 60.0, **BY), "allow", KEY, "allowed"),
        (lambda store: store.allow(PAYMENT, "sales", 60.0, **BY), "allow", PAYMENT, "allowed"),
        (lambda store: store.decide(KEY, "observe", 60.0, **BY), "decide", KEY, "operator"),
        (
            lambda store: store.withdraw("a_1", KEY, "elicitation", "critical", **BY),
            "withdraw",
            "a_1",
            "withdrawn",
        ),
    ],
)
def test_each_change_lifts_a_block_and_is_audited(store, url, change, what, subject, why):
    decided(url, DECISION)
    assert applies(store).action == "block"
    made = change(store)
    found = applies(store)
    assert (found.action, found.why) == ("observe", why)
    assert list(store.audit()) == [made]
    assert (made.what, made.subject, made.who, made.why) == (what, subject, "ann", "INC-7")
    assert made.before is None
    assert made.after


@pytest.mark.parametrize(
    ("change", "back"),
    [
        (
            lambda store: store.switch("kill", True, **BY),
            lambda store: store.switch("kill", False, **BY),
        ),
        (
            lambda store: store.switch("shadow", True, **BY),
            lambda store: store.switch("shadow", None, **BY),
        ),
        (
            lambda store: store.allow(KEY, "sales", 60.0, **BY),
            lambda store: store.disallow(KEY, **BY),
        ),
        (
            lambda store: store.withdraw("a_1", KEY, "burst", "info", **BY),
            lambda store: store.reinstate("a_1", **BY),
        ),
    ],
)
def test_each_change_can_be_taken_back(store, url, change, back):
    decided(url, DECISION)
    made, undone = change(store), back(store)
    assert applies(store).action == "block"
    assert list(store.audit()) == [made, undone]
    assert undone.before == made.after


def test_person_decides_in_place_of_detectors(store, url):
    decided(url, DECISION)
    made = store.decide(KEY, "throttle", 60.0, **BY, rate=5.0)
    found = applies(store)
    assert (found.action, found.why, found.decision.rate) == ("throttle", "operator", 5.0)
    assert found.decision.reason == made.id  # which a client may see; the person's words are not
    assert "INC-7" not in msgspec.json.encode(found.decision).decode()


def test_delete_removes_decisions_of_all_origins(store, url):
    decided(url, DECISION, msgspec.structs.replace(DECISION, origin="campaign", action="throttle"))
    store.decide(KEY, "challenge", 60.0, **BY)
    before = store.position()
    made = store.delete(KEY, **BY)
    assert applies(store).decision is None
    assert {each["origin"] for each in made.before} == {"detector", "campaign", "operator"}
    gone = {entry.name for entry in store.feed(before).entries if not entry.value}
    assert gone >= {f"xm:d:{KEY}", f"xm:d:campaign:{KEY}", f"xm:d:operator:{KEY}"}


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.disallow(KEY, **BY),
        lambda store: store.delete(KEY, **BY),
        lambda store: store.reinstate("a_1", **BY),
        lambda store: store.switch("kill", None, **BY),
        lambda store: store.decide("sk-raw", "block", 60.0, **BY),
        lambda store: store.decide("c_1", "block", 60.0, **BY),
        lambda store: store.decide(KEY, "block", 0.0, **BY),
        lambda store: store.decide(KEY, "block", 1e9, **BY),
        lambda store: store.decide(KEY, "block", 60.0, **BY, rate=1.0),
        lambda store: store.decide(KEY, "block", 60.0, "ann", " "),
        lambda store: store.decide(KEY, "block", 60.0, "", "INC-7"),
        lambda store: store.decide(KEY, "block", 60.0, "ann", "a\x1b[2Jb"),
        lambda store: store.allow("203.0.113.9", "sales", 60.0, **BY),
    ],
)
def test_change_that_cannot_be_made_writes_nothing(store, change):
    with pytest.raises(InputError):
        change(store)
    assert (store.read(), list(store.audit()), store.position()) == (Control(), [], START)


def test_feed_gives_follower_the_same_control(store):
    start = store.position()
    store.switch("shadow", False, **BY, kind="burst")
    store.allow(KEY, "sales", 60.0, **BY)
    store.allow(OTHER, "sales", 60.0, **BY)
    store.disallow(OTHER, **BY)
    store.withdraw("a_1", KEY, "burst", "info", **BY)
    entries = [(entry.name, entry.value) for entry in store.feed(start).entries]
    assert Control().apply_all(entries) == store.read()


def test_feed_waits_for_an_entry(url):
    store = ControlStore(url, timeout=120.0)
    start, found = store.position(), []
    reader = threading.Thread(target=lambda: found.append(store.feed(start, block_ms=60_000)))
    reader.start()
    store.switch("kill", True, **BY)
    reader.join()
    assert [entry.name for entry in found[0].entries] == ["xm:control:kill"]


def test_feed_is_lost_when_redis_has_lost_data(redis_url):
    store = ControlStore(redis_url)
    store.switch("kill", True, **BY)
    position = store.position()
    assert not store.feed(position).lost
    with redis.from_url(redis_url) as client:
        client.flushdb()
    assert store.feed(position).lost
    assert not store.feed(store.position()).lost


def test_feed_is_lost_for_reader_behind_its_end(redis_url):
    store = ControlStore(redis_url)
    store.switch("kill", True, **BY)
    behind = store.position()
    store.switch("kill", False, **BY)
    store.switch("kill", True, **BY)
    with redis.from_url(redis_url) as client:
        client.xtrim("xm:feed", maxlen=1, approximate=False)
    assert store.feed(behind).lost


def test_change_whose_answer_is_lost_is_audited_once(redis_url, monkeypatch):
    store, transact, answers = ControlStore(redis_url), control.transact, []

    def lose_first_answer(connection, commands):
        answers.append(transact(connection, commands))
        if len(answers) == 1:
            raise redis.exceptions.ConnectionError("lost")
        return answers[-1]

    monkeypatch.setattr(control, "transact", lose_first_answer)
    made = store.allow(KEY, "sales", 60.0, **BY)
    assert list(store.audit()) == [made]
    assert store.read().allowed.keys() == {KEY}


def test_concurrent_changes_are_audited_with_what_they_replaced(redis_url):
    def switch(store, on):
        for _ in range(20):
            with suppress(StoreError):  # more than its retries
                store.switch("kill", on, **BY)

    threads = [
        threading.Thread(target=switch, args=(ControlStore(redis_url), on)) for on in (True, False)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    changes = list(ControlStore(redis_url).audit())
    assert [each.before for each in changes[1:]] == [each.after for each in changes[:-1]]


def test_change_while_redis_is_away_is_a_clear_error():
    with pytest.raises(StoreUnavailableError, match=r"is away .* start it"):
        ControlStore("redis://127.0.0.1:1/0").switch("kill", True, **BY)


def test_change_is_not_half_done_on_a_full_redis(own_redis):
    store = ControlStore(own_redis.url)
    with redis.from_url(own_redis.url) as client:
        client.flushdb()
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(StoreUnavailableError, match="is full"):
                store.allow(KEY, "sales", 60.0, **BY)
        finally:
            client.config_set("maxmemory", 0)
        assert client.dbsize() == 0
    store.allow(KEY, "sales", 60.0, **BY)


def test_entries_that_have_ended_are_removed_by_the_next_change(redis_url):
    store = ControlStore(redis_url)
    store.allow(OTHER, "sales", 60.0, **BY)
    withdrawal = {"subject": KEY, "kind": "burst", "severity": "info", "who": "ann", "why": "x"}
    with redis.from_url(redis_url) as client:
        entry = msgspec.json.decode(client.hget("xm:allow", OTHER))
        client.hset("xm:allow", OTHER, msgspec.json.encode(entry | {"expires_at": 1.0}))
        old = withdrawal | {"alert": "a_0", "at": 1.0}
        client.hset("xm:withdrawn", "a_0", msgspec.json.encode(old))
    before = store.position()
    store.allow(KEY, "sales", 60.0, **BY)
    store.withdraw("a_1", KEY, "burst", "info", **BY)
    found = store.read()
    assert (found.allowed.keys(), found.withdrawn.keys()) == ({KEY}, {"a_1"})
    gone = {entry.name for entry in store.feed(before).entries if not entry.value}
    assert gone == {f"xm:allow:{OTHER}", "xm:withdrawn:a_0"}


def test_control_of_a_newer_version_is_refused(redis_url):
    with redis.from_url(redis_url) as client:
        client.hset("xm:control", "kill", b"{}")
    with pytest.raises(StoreRefusedError, match="upgrade everything to one version"):
        ControlStore(redis_url).read()
