from __future__ import annotations

import msgspec
import pytest
import redis

from monitor.errors import InputError
from monitor.sharing.indicator import Found, Indicator
from monitor.store.indicators import IndicatorStore
from monitor.store.indicators import store as indicators

NOW = 1_772_000_000.0
DAY = 86_400.0
ONE = Indicator(
    *("indicator--1", "network", "ab" * 16, "3f9a12bc", "identity--p", 80, "green", "C7"),
    valid_from=NOW - DAY,
    valid_until=NOW + DAY,
)


def changed(**fields: object) -> Indicator:
    return msgspec.structs.replace(ONE, **fields)


@pytest.fixture
def store(redis_url: str) -> IndicatorStore:
    return IndicatorStore(redis_url)


def test_put_replaces_indicator_with_the_same_source_and_id(store):
    store.put([ONE, changed(id="indicator--2")], NOW)
    store.put([changed(confidence=10)], NOW)
    assert [(each.id, each.confidence) for each in store.all(NOW)] == [
        ("indicator--1", 10),
        ("indicator--2", 80),
    ]


def test_source_can_only_replace_and_revoke_its_own(store):
    other = changed(source="identity--q", confidence=1)
    store.put([ONE, other], NOW)
    assert store.revoke("identity--q", [ONE.id, "indicator--unknown"]) == 1
    assert store.all(NOW) == [ONE]


def test_each_change_of_indicators_gives_another_version(store):
    before = store.version()
    store.put([ONE], NOW)
    added = store.version()
    store.revoke(ONE.source, [ONE.id])
    assert len({before, added, store.version()}) == 3


def test_expired_indicators_are_deleted(store, redis_url):
    store.put([ONE], NOW)
    assert store.all(NOW + 2 * DAY) == []
    with redis.from_url(redis_url) as client:
        assert client.hlen("xm:indicators") == 0


def test_put_refuses_more_than_there_is_room_for(store, monkeypatch):
    monkeypatch.setattr(indicators, "MOST_PER_SOURCE", 2)
    with pytest.raises(InputError, match="Nothing was imported"):
        store.put([changed(id=f"indicator--{i}") for i in range(3)], NOW)
    assert store.all(NOW) == []


def test_indicator_of_a_newer_version_is_left_out(store, redis_url):
    store.put([ONE], NOW)
    with redis.from_url(redis_url) as client:
        client.hset("xm:indicators", "identity--q\nindicator--9", b'{"kind": "voice"}')
    assert store.all(NOW) == [ONE]


def test_found_lists_own_hashes_and_keys_with_templates(store):
    template = changed(id="indicator--2", kind="template", value="cd" * 16)
    store.add_found({("network", ONE.value): 2**64 - 1, ("tls", "ef" * 16): 5}, NOW)
    store.add_keys({template.value: {"k_2": NOW, "k_1": NOW}}, NOW)
    assert store.found([ONE, template], NOW) == [
        Found("network", ONE.value, 2**64 - 1),
        Found("template", template.value, 0, ["k_1", "k_2"]),
    ]
    assert store.found([ONE], NOW + 5 * DAY) == []


def test_template_that_many_keys_have_is_marked(store):
    template = changed(kind="template")
    keys = {f"k_{i:04}": NOW + i for i in range(2000)}
    store.add_keys({template.value: keys}, NOW)
    (found,) = store.found([template], NOW)
    assert (len(found.keys), found.many) == (indicators.LISTED_KEYS, True)


def test_shared_hashes_are_remembered_for_days(store):
    pairs = {("network", 7): ONE.value, ("tls", 7): "cd" * 16}
    assert store.remember(pairs, NOW) == 2
    assert store.remember(pairs, NOW) == 0
    assert store.shared_of("network", [0, 7, 8], NOW + 2 * DAY) == {7: ONE.value}
    assert store.shared_of("tls", [7], NOW) == {7: "cd" * 16}
    assert store.shared_of("network", [7], NOW + 5 * DAY) == {}


def test_hashes_under_an_earlier_salt_are_forgotten(store, redis_url):
    store.remember({("network", 7): ONE.value}, NOW)
    store.add_templates({"k_1": {ONE.value: NOW}})
    renewed = IndicatorStore(redis_url, salt="00000000")
    assert renewed.shared_of("network", [7], NOW) == {}
    assert renewed.templates_of(["k_1"]) == {}


def test_templates_of_a_key_are_bounded(store):
    store.add_templates({"k_1": {f"{i:032x}": NOW + i for i in range(100)}, "k_2": {"aa": NOW}})
    found = store.templates_of(["k_1", "k_2", "k_3"])
    assert len(found["k_1"]) == 32
    assert found["k_1"][0] == f"{99:032x}"
    assert found["k_2"] == ["aa"]


def test_nothing_in_redis_lives_for_ever_but_the_indicators(store, redis_url):
    store.put([ONE], NOW)
    store.add_found({("network", ONE.value): 1}, NOW)
    store.add_keys({ONE.value: {"k_1": NOW}}, NOW)
    store.remember({("network", 7): ONE.value}, NOW)
    store.add_templates({"k_1": {ONE.value: NOW}})
    with redis.from_url(redis_url) as client:
        names = client.keys("xm:*")
        assert {name for name in names if client.ttl(name) < 0} == {
            *(b"xm:indicators", b"xm:indicators:version")
        }
        assert len(names) == 6
