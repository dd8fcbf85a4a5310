"""Campaigns whose alert a person has withdrawn."""

import pytest

from monitor.alerting import enforcement
from monitor.alerting.enforcement import Cleared
from monitor.batch import Batch
from monitor.config import Settings
from monitor.linker import Linker
from monitor.store.memory import MemoryStore
from tests.support.crowd import fleet, population
from tests.unit.campaigns.test_rounds import TOPIC, stream

WARNING, CRITICAL = 2, 3
FLEET = frozenset(fleet(30).names)


def observe(messages, *, withdrawn, since=0):
    """The alerts and decisions of a linker that knows from message `since` on what is withdrawn."""
    linker = Linker(Settings(), MemoryStore())
    linker.assign(TOPIC)
    first = linker.observe(Batch(TOPIC, range(since), messages[:since]))
    linker.withdraw(withdrawn)
    rest = linker.observe(Batch(TOPIC, range(since, len(messages)), messages[since:]))
    return first, rest


def test_withdrawn_campaign_neither_opens_nor_decides():
    messages = stream(population(), fleet(30))
    (opened, *_) = observe(messages, withdrawn={})[1].alerts
    _, out = observe(messages, withdrawn={opened.subject.id: {"campaign": Cleared(CRITICAL)}})
    assert (out.alerts, out.decisions) == ([], [])


def test_open_campaign_ends_when_it_is_withdrawn():
    messages = stream(population(), fleet(30))
    half = len(messages) // 2
    first, _ = observe(messages, withdrawn={}, since=half)
    campaign = first.alerts[-1]
    assert campaign.state != "resolved"
    withdrawn = {campaign.subject.id: {"campaign": Cleared(CRITICAL)}}
    _, rest = observe(messages, withdrawn=withdrawn, since=half)
    (resolved,) = rest.alerts
    assert (resolved.id, resolved.state) == (campaign.id, "resolved")
    assert "withdrawn by a person" in resolved.summary
    assert rest.decisions == []


def test_campaign_opens_once_it_is_more_severe_than_what_was_withdrawn():
    messages = stream(population(), fleet(30))
    (opened, *_) = observe(messages, withdrawn={})[1].alerts
    _, out = observe(messages, withdrawn={opened.subject.id: {"campaign": Cleared(WARNING)}})
    assert {each.severity for each in out.alerts} == {"critical"}


def campaign(severity=CRITICAL, requests=0.0, members=FLEET):
    return {"campaign": Cleared(severity, requests, members)}


@pytest.fixture(scope="module")
def messages():
    return stream(population(), fleet(30))


def listed(out):
    return {*out.alerts[-1].subject.members}


def test_withdrawn_campaign_does_not_return_under_another_id(messages):
    _, out = observe(messages, withdrawn={"c_earlier": campaign()})
    assert (out.alerts, out.decisions) == ([], [])


def test_part_of_a_withdrawn_campaign_is_withdrawn(messages):
    more = FLEET | {f"k_other_{i}" for i in range(60)}
    _, out = observe(messages, withdrawn={"c_earlier": campaign(members=more)})
    assert out.alerts == []


def test_withdrawn_campaigns_that_become_one_stay_withdrawn(messages):
    one, other = frozenset(fleet(30).names[:15]), frozenset(fleet(30).names[15:])
    withdrawn = {"c_1": campaign(members=one), "c_2": campaign(members=other)}
    assert observe(messages, withdrawn=withdrawn)[1].alerts == []


def test_campaign_of_mostly_new_keys_opens_without_the_withdrawn_ones(messages):
    old = frozenset(fleet(30).names[:10])
    _, out = observe(messages, withdrawn={"c_earlier": campaign(members=old)})
    assert listed(out) == FLEET - old
    assert {each.key for each in out.decisions} == FLEET - old
    (update,) = (each for each in out.alerts if each.state == "update")
    assert (update.evidence["members"], update.evidence["cleared_members"]) == (20.0, 10.0)


def test_withdrawn_campaign_of_other_keys_clears_nobody(messages):
    strangers = frozenset(f"k_other_{i}" for i in range(30)) | {fleet(30).names[0]}
    _, out = observe(messages, withdrawn={"c_earlier": campaign(members=strangers)})
    assert listed(out) == FLEET


def test_cleared_member_is_neither_named_nor_decided_on(messages):
    key = fleet(30).names[0]
    _, out = observe(messages, withdrawn={key: campaign()})
    assert listed(out) == FLEET - {key}
    assert key not in {each.key for each in out.decisions}


def test_member_cleared_of_another_campaign_is_named(messages):
    key = fleet(30).names[0]
    others = frozenset(f"k_other_{i}" for i in range(30)) | {key}
    assert key in listed(observe(messages, withdrawn={key: campaign(members=others)})[1])


def test_open_campaign_no_longer_lists_a_member_once_it_is_cleared(messages):
    half, key = len(messages) // 2, fleet(30).names[0]
    first, rest = observe(messages, withdrawn={key: campaign()}, since=half)
    assert key in listed(first)
    assert rest.alerts[0].state == "update"
    assert all(key not in alert.subject.members for alert in rest.alerts)
    assert key not in {each.key for each in rest.decisions}
    assert len(rest.alerts) <= 3


def test_withdrawn_campaign_opens_with_many_more_requests(messages, monkeypatch):
    monkeypatch.setattr(enforcement, "LEAST_REQUESTS", 1.0)
    _, out = observe(messages, withdrawn={"c_earlier": campaign(requests=20.0)})
    assert listed(out) == FLEET
    _, out = observe(messages, withdrawn={"c_earlier": campaign(requests=100.0)})
    assert out.alerts == []
