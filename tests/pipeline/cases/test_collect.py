"""Facts from Redis: of one offset, with or without the whole population."""

from __future__ import annotations

import msgspec
import pytest

from monitor.config import Settings
from monitor.errors import InputError
from monitor.store.redis import RedisStore
from pipelines.cases.collect import Collector
from tests.support import campaigns
from tests.support.campaigns import FLEET, NEIGHBOUR


class NoKafka:
    """Offsets without a broker: everything is still there."""

    def earliest(self, names: list[str]) -> dict[str, int]:
        return dict.fromkeys(names, 0)

    def partitions(self, topic: str) -> list[int]:
        return []

    def ends(self, names: list[str]) -> dict[str, int]:
        return {}

    def begins_before(self, name: str, at: float) -> bool:
        return True


@pytest.fixture
def collector(redis_url: str) -> Collector:
    campaigns.save(RedisStore(redis_url, 100), campaigns.partition())
    return Collector(Settings(redis_url=redis_url), offsets=NoKafka())


def test_campaign_facts_have_members_with_what_ties_them(collector: Collector) -> None:
    facts = collector.collect("c_fleet")
    members = [each for each in facts.members if each.role == "member"]
    assert {each.key for each in members} == set(FLEET)
    assert all(each.nats for each in members)
    assert [each.key for each in facts.members if each.role == "bystander"] == [NEIGHBOUR]
    assert {each.kind for each in facts.shared} >= {"payment", "system"}
    assert (facts.severity, facts.requests) == ("critical", 60 * len(FLEET))
    assert facts.statement.startswith("12 keys, members with a mean confidence of 9")
    (finding,) = facts.findings
    share = next(each for each in finding.numbers if each.name == "share_of_traffic")
    assert 0.2 < share.value < 0.6


def test_quick_campaign_facts_leave_out_ties(collector: Collector) -> None:
    whole, quick = collector.collect("c_fleet"), collector.collect("c_fleet", quick=True)
    assert quick.shared == []
    without = [
        msgspec.structs.replace(each, nats={}, shares=[], own_alert=each.own_alert)
        for each in whole.members
    ]
    assert quick.members == without
    assert quick.timeline == whole.timeline


def test_unknown_subjects_name_the_fix(collector: Collector) -> None:
    with pytest.raises(InputError, match="`xm campaigns --all` lists"):
        collector.collect("c_unknown")
    with pytest.raises(InputError, match="has no record of k_unknown"):
        collector.collect("k_unknown")


def test_campaign_facts_are_read_from_a_cluster(cluster_url: str) -> None:
    campaigns.save(RedisStore(cluster_url, 100), campaigns.partition())
    facts = Collector(Settings(redis_url=cluster_url), offsets=NoKafka()).collect("c_fleet")
    assert {each.key for each in facts.members} == {*FLEET, NEIGHBOUR}
