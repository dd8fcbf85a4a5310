"""Caps as checkpoints apply them."""

import msgspec
import pytest
import redis

from monitor.alerting.caps import Caps
from monitor.alerting.decisions import Decision
from monitor.config import Decisions
from monitor.store.base import Checkpoint
from monitor.store.redis import RedisStore

SERVERS = [pytest.param(name, marks=pytest.mark.kafka) for name in ("redis_url", "cluster_url")]


@pytest.fixture(params=SERVERS)
def url(request):
    return request.getfixturevalue(request.param)


def block(key, requests=0.0):
    return Decision(key, "block", "a_1", 1.0, 60.0, requests=requests)


def capped(store, *keys):
    return [each.capped for found in store.in_force(keys) for each in found]


def test_workers_share_the_caps(url):
    settings = Decisions(cap_keys=2)
    for n in range(4):
        store = RedisStore(url, 100, caps=Caps(settings))
        store.commit(Checkpoint(decisions=[block(f"k_{n}")]))
    assert capped(store, "k_0", "k_1", "k_2", "k_3") == [False, False, True, True]
    store.commit(Checkpoint(decisions=[block("k_0")]))
    assert capped(store, "k_0") == [False]


def test_share_is_of_the_traffic_of_all_partitions(url):
    store = RedisStore(url, 100, caps=Caps(Decisions(cap_share=0.5)))
    store.commit(Checkpoint(traffic={"t:0": 100, "t:1": 300}))
    store.commit(Checkpoint(traffic={"t:0": 200}))
    store.commit(Checkpoint(decisions=[block("k_1", 240.0), block("k_2", 20.0)]))
    assert capped(store, "k_1", "k_2") == [False, True]


def test_reached_cap_is_in_the_audit_once(redis_url):
    store = RedisStore(redis_url, 100, caps=Caps(Decisions(cap_keys=1)))
    for n in range(4):
        store.commit(Checkpoint(decisions=[block(f"k_{n}")]))
    with redis.from_url(redis_url) as client:
        ((_, fields),) = client.xrange("xm:audit")
    entry = msgspec.json.decode(fields[b"change"])
    assert (entry["what"], entry["subject"]) == ("cap", "k_1")


def test_store_without_caps_caps_nothing(redis_url):
    store = RedisStore(redis_url, 100)
    store.commit(Checkpoint(decisions=[block(f"k_{n}") for n in range(600)]))
    assert not any(capped(store, *(f"k_{n}" for n in range(600))))
