"""Which keys a list shows, and what it says that they cost."""

from itertools import chain

import numpy as np
import pytest
import redis

from monitor import config
from monitor.alerting.decisions import Decision
from monitor.errors import ConfigError
from monitor.records.profile import KINDS, RECORD, Profile, blank
from monitor.store import inventory
from monitor.store.base import Checkpoint
from monitor.store.redis import RedisStore
from pipelines.inspect import keys


def record(requests=1, **fields):
    found = blank()
    found["requests"] = requests
    for name, value in fields.items():
        found[name] = value
    return found


def by_requests(profile: Profile):
    return profile["requests"]


def survey(pages, top=3, decision=lambda key: None):
    data = [[(key, each.tobytes()) for key, each in page.items()] for page in pages]
    return keys.survey(data, by_requests, top, decision)


def test_the_first_keys_of_all_pages_are_listed():
    pages = [{f"k_{i}": record(i) for i in range(n, n + 10)} for n in (0, 20, 10)]
    report = survey(pages)
    assert [key.key for key in report.top] == ["k_29", "k_28", "k_27"]
    assert (report.keys, report.requests) == (30, sum(range(30)))


def test_open_alerts_and_the_decision_are_told():
    severity = np.zeros_like(blank()["severity"])
    severity[KINDS.index("burst")] = 3
    block = Decision("k_1", "block", "a_1", made_at=1.0, seconds=60.0)
    pages = [{"k_1": record(severity=severity), "k_2": record()}]
    report = survey(pages, decision={"k_1": block}.get)
    assert {key.key: (key.alerts, key.decision) for key in report.top} == {
        "k_1": ({"burst": "critical"}, "block"),
        "k_2": ({}, "observe"),
    }
    assert report.alerted == {"critical": 1}


def test_an_empty_store_has_an_empty_list():
    assert survey([{}]).keys == 0


@pytest.mark.parametrize("by", ["requests", "tokens", "hour", "last-seen", "burst", "elicitation"])
def test_there_is_an_order_by(by):
    order = keys.order(by, config.Settings())
    assert order(Profile(np.array([record(), record()]))).shape == (2,)


def test_an_order_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(ConfigError, match=r"no order colour: choose requests, .*elicitation"):
        keys.order("colour", config.Settings())


@pytest.fixture
def store(redis_url):
    return RedisStore(redis_url, record_seconds=100)


def test_every_record_is_on_one_page(store):
    records = {f"k_{i}": b"%d" % i for i in range(2_500)}
    store.commit(Checkpoint(records, {"t:0": b"state"}))
    pages = list(inventory.pages(store.server))
    assert sum(map(len, pages)) == len(records)
    assert dict(chain(*pages)) == records


def test_what_redis_takes_is_foretold_from_a_sample(store, redis_url):
    with redis.from_url(redis_url) as client:
        before = client.info("memory")["used_memory"]
    store.commit(Checkpoint({f"k_{i:024x}": record().tobytes() for i in range(20_000)}))
    memory = inventory.memory(store.server)
    foretold = memory.of(20_000) - memory.empty
    assert memory.used - before < foretold * 1.03
    assert memory.used - before > foretold * 0.9
    assert memory.record > RECORD.itemsize
