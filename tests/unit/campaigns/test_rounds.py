"""What is found among crowds: fleets, and nobody who only has something in common."""

import msgspec
import numpy as np
import pytest

from monitor.alerting.alerts import Alert
from monitor.batch import Batch
from monitor.campaigns.fingerprint import decode, encode
from monitor.config import Settings
from monitor.linker import Linker
from monitor.records.profile import HOUR
from monitor.store.memory import MemoryStore
from tests.support.crowd import MIDNIGHT, Crowd, direction, fleet, population

TOPIC = "fingerprints:0"


def stream(*crowds, until=24.0):
    """The messages of some crowds, in time order, and what makes the last round happen."""
    messages = []
    for crowd in crowds:
        said = crowd.said()
        messages += zip(said["ts"].tolist(), encode(said, crowd.names), strict=True)
    messages = [message for _, message in sorted(messages, key=lambda each: each[0])]
    last = Crowd(1, seed=999, born=until - 1, spread=0.0, hours=1.0)
    return [*messages, *encode(last.said(), last.names)]


def linked(*crowds, store=None, **settings):
    """A linker that has seen some crowds, and the alerts it gave."""
    linker = Linker(Settings(**settings), store or MemoryStore())
    linker.assign(TOPIC)
    messages = stream(*crowds)
    out = linker.observe(Batch(TOPIC, range(len(messages)), messages))
    return linker, out


def members(out):
    """The members of each campaign, by its id, as of its last statement that is no end."""
    return {
        a.subject.id: set(a.subject.members) for a in out.alerts if a.state != "resolved"
    }.values()


def test_accounts_that_share_a_list_out_are_found_among_people():
    _, out = linked(population(), fleet(30))
    (found,) = members(out)
    assert found == set(fleet(30).names)


def test_people_alone_are_no_campaign():
    assert not linked(population(600))[1].alerts


def test_two_fleets_with_other_work_are_two_campaigns():
    one, other = fleet(30, seed=2), fleet(20, seed=3, born=4.0, an_hour=30.0)
    _, out = linked(population(), one, other)
    assert sorted(map(sorted, members(out))) == sorted(map(sorted, (one.names, other.names)))


def test_accounts_that_nothing_ties_but_the_work_are_found():
    hydra = fleet(60, spread=2.0, mix=0.5)
    (found,) = members(linked(population(800), hydra)[1])
    assert len(found & set(hydra.names)) >= 0.95 * 60
    assert len(found - set(hydra.names)) <= 1


@pytest.mark.parametrize(
    "alike",
    [
        pytest.param(fleet(60, shared={"payment": 7, "network": 8}), id="one customer"),
        pytest.param(fleet(40, repeats=30), id="a course with one assignment"),
        pytest.param(fleet(40, sessions=True, nats=0.5), id="colleagues who come in sessions"),
        pytest.param(Crowd(200, 2, own=3.0, shared={"system": 5, "user_agent": 6}), id="a library"),
        pytest.param(fleet(40, a_template=30.0), id="an application that many run"),
        pytest.param(fleet(40, nats=0.2), id="at whom no detector is surprised"),
        pytest.param(fleet(8), id="too few to tell"),
    ],
)
def test_who_only_has_something_in_common_is_not_accused(alike):
    assert not linked(population(), alike)[1].alerts


def test_a_customer_whose_keys_are_accused_by_themselves_is_a_campaign():
    (found,) = members(linked(population(), fleet(30, severity=2, shared={"payment": 7}))[1])
    assert found == set(fleet(30).names)


def test_who_shares_a_network_with_a_campaign_is_named_apart():
    bystanders = population(6, seed=5, spread=2.0, hours=12.0, shared={"network": 8})
    linker, out = linked(population(), fleet(30, shared={"network": 8}), bystanders)
    (found,) = members(out)
    assert found == set(fleet(30).names)
    (campaign,) = (c for c in linker.partitions[TOPIC].rounds.campaigns if c.named)
    assert set(campaign.bystanders) == set(bystanders.names)


def test_one_office_does_not_weld_two_campaigns():
    one = fleet(30, seed=2, shared={"network": 8})
    other = fleet(20, seed=3, born=6.0, an_hour=40.0, shared={"network": 8})
    assert len(members(linked(population(), one, other)[1])) == 2


def test_an_alert_says_what_was_found_in_numbers_only():
    first, *_, alert, _end = linked(population(), fleet(30))[1].alerts
    assert (alert.kind, alert.state, alert.subject.type) == ("campaign", "update", "campaign")
    assert np.isfinite([*alert.evidence.values()]).all()
    assert alert.evidence["members"] == len(alert.subject.members)
    assert alert.evidence["requests"] == pytest.approx(30 * 60, rel=0.1)
    assert alert.evidence["probability"] < 1e-6
    assert msgspec.json.decode(msgspec.json.encode(first), type=Alert) == first
    assert "one list" in alert.summary


def test_of_a_crowd_that_keeps_one_pace_most_may_be_ordinary():
    (found,) = members(linked(population(800), fleet(60, mix=0.6, own=4.0, an_hour=16.0))[1])
    assert len(found & set(fleet(60).names)) >= 0.9 * 60


def test_a_pager_rings_for_ten_and_not_for_six():
    def severity(keys):
        return linked(population(), fleet(keys, severity=2))[1].alerts[-1].severity

    assert (severity(6), severity(12)) == ("warning", "critical")


def test_members_are_decided_upon():
    _, out = linked(population(), fleet(30))
    assert {d.key for d in out.decisions} == set(fleet(30).names)
    assert {(d.action, d.origin) for d in out.decisions} == {("block", "campaign")}


def test_a_campaign_that_falls_silent_is_over_and_keeps_its_id_when_it_begins_anew():
    linker, out = linked(population(), fleet(30))
    (ended,) = (a for a in out.alerts if a.state == "resolved")
    messages = stream(population(seed=11, born=22.0), fleet(30, hours=30.0), until=40.0)
    offset = linker.partitions[TOPIC].offset
    out = linker.observe(Batch(TOPIC, range(offset, offset + len(messages)), messages))
    opened = [a for a in out.alerts if a.state == "open"]
    assert {a.subject.id for a in opened} == {ended.subject.id}
    assert opened[0].id != ended.id
    (campaign,) = (c for c in linker.partitions[TOPIC].rounds.campaigns if c.named)
    changes = [m.change for m in campaign.timeline if m.change != "grown"]
    assert changes == ["born", "ended", "born", "ended"]


def test_a_campaign_grows():
    first, later = fleet(20, seed=2), fleet(20, seed=7, born=3.2, hours=6.5)
    later.work = direction(2)
    linker, out = linked(population(), first, later)
    (campaign,) = (c for c in linker.partitions[TOPIC].rounds.campaigns if c.named)
    assert [m.change for m in campaign.timeline][:2] == ["born", "grown"]
    assert set(campaign.named) == {*first.names, *later.names}
    assert len({a.id for a in out.alerts}) == 1


def test_campaigns_that_are_one_become_one_and_say_so():
    parts = [
        fleet(14, seed=seed, severity=2, spread=0.3, shared={"payment": seed, "network": seed})
        for seed in (2, 7, 8)
    ]
    for part in parts:
        part.work = direction(2)
    linker, out = linked(population(), *parts)
    statements = {a.subject.id: a for a in out.alerts if a.state != "resolved"}
    most = max(statements.values(), key=lambda alert: len(alert.subject.members))
    assert set(most.subject.members) == {name for part in parts for name in part.names}
    for other in statements.keys() - {most.subject.id}:
        (campaign,) = (c for c in linker.partitions[TOPIC].rounds.campaigns if c.id == other)
        assert campaign.timeline[-1].change == "merged"


def test_the_same_fingerprints_give_the_same_alerts_wherever_batches_end():
    messages = stream(population(), fleet(30))

    def alerts(size):
        linker = Linker(Settings(), MemoryStore())
        linker.assign(TOPIC)
        found = []
        for start in range(0, len(messages), size):
            part = messages[start : start + size]
            found += linker.observe(Batch(TOPIC, range(start, start + len(part)), part)).alerts
        return found

    assert alerts(7) == alerts(97) == alerts(10_000)


def test_what_is_no_fingerprint_is_rejected_and_the_others_are_taken():
    linker = Linker(Settings(), MemoryStore())
    linker.assign(TOPIC)
    good = stream(population(20))
    out = linker.observe(Batch(TOPIC, range(23), [b"", *good, b"\x07\x00 of version 7"]))
    assert [r.rejection.reason for r in out.rejected] == ["not_a_fingerprint"] * 2
    assert [r.offset for r in out.rejected] == [0, 22]
    assert out.events == 21


def test_keys_that_are_silent_for_days_are_forgotten():
    linker, _ = linked(population(50))
    messages = stream(population(10, seed=4), until=80.0)
    offset = linker.partitions[TOPIC].offset
    linker.observe(Batch(TOPIC, range(offset, offset + len(messages)), messages))
    shard = linker.partitions[TOPIC]
    assert len(shard.population) < 50
    assert all(ts > MIDNIGHT + 30 * HOUR - 48 * HOUR for ts in shard.population.rows["said"]["ts"])


def test_there_is_room_for_so_many_keys_only():
    linker, _ = linked(population(1_500), campaigns={"keys": 1_000})
    assert len(linker.partitions[TOPIC].population) == 1_000 + 1  # who came after the last round


def test_fingerprints_are_read_as_they_were_written():
    crowd = population(30)
    said, names, which = decode(encode(crowd.said(), crowd.names))
    assert np.array_equal(said, crowd.said())
    assert (names, which) == (crowd.names, list(range(30)))
