"""What a withdrawal remembers, as workers have stored it."""

from __future__ import annotations

import msgspec

from monitor.batch import Batch
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.store.redis import RedisStore
from pipelines.inspect.withdrawal import Behaviour, Behaviours
from tests.support import campaigns
from tests.support.campaigns import FLEET
from tests.support.cases import campaign_alert, key_alert
from tests.support.requests import elicitor


def test_requests_of_a_key_are_those_of_its_last_day(redis_url: str) -> None:
    store = RedisStore(redis_url, 100)
    engine = Engine(Settings(), Identity(b"0123456789abcdef", plain=True), store)
    engine.assign("t:0")
    values = elicitor(count=40)
    engine.observe(Batch("t:0", range(len(values)), values))
    store.commit(engine.snapshot())
    found = Behaviours(Settings(redis_url=redis_url)).of(key_alert("sk-cot"))
    assert 38 < found.requests < 42
    assert found.members == ()


def test_members_of_a_campaign_are_those_it_has_now(redis_url: str) -> None:
    partition = campaigns.partition()
    partition.rounds.campaigns[0].evidence["requests_an_hour"] = 10.0
    campaigns.save(RedisStore(redis_url, 100), partition)
    alert = campaign_alert(subject="c_fleet", members=["k_left"])
    alert = msgspec.structs.replace(alert, evidence={"requests_an_hour": 2.0})
    found = Behaviours(Settings(redis_url=redis_url)).of(alert)
    assert found.requests == 240.0
    assert found.members == ("k_left", *FLEET)


def test_behaviour_of_a_subject_that_is_gone_is_unknown(redis_url: str) -> None:
    assert Behaviours(Settings(redis_url=redis_url)).of(key_alert("k_gone")) == Behaviour()
