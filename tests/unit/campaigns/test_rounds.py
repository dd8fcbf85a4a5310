"""Rounds find fleets in crowds, and no group that only has something in common."""

import msgspec
import numpy as np
import pytest

from monitor.alerting.alerts import Alert
from monitor.batch import Batch
from monitor.campaigns.criteria import Weights
from monitor.campaigns.fingerprint import to_messages
from monitor.config import Settings
from monitor.linker import Linker
from monitor.records.profile import HOUR
from monitor.records.stream_clock import SOURCES
from monitor.store.memory import MemoryStore
from tests.support.crowd import MIDNIGHT, Crowd, direction, fleet, population

TOPIC = "fingerprints:0"


def stream(*crowds, until=24.0):
    """The messages of some crowds in time order, and some that start the last round."""
    messages = []
    for crowd in crowds:
        prints = crowd.fingerprints()
        messages += zip(prints["ts"].tolist(), to_messages(prints, crowd.names), strict=True)
    messages = [message for _, message in sorted(messages, key=lambda each: each[0])]
    last = Crowd(SOURCES, seed=999, start=until - 1, spread=0.0, hours=1.0)
    return [*messages, *to_messages(last.fingerprints(), last.names)]


def linked(*crowds, store=None, **settings):
    """A linker that has observed some crowds, and its outcome."""
    linker = Linker(Settings(**settings), store or MemoryStore())
    linker.assign(TOPIC)
    messages = stream(*crowds)
    out = linker.observe(Batch(TOPIC, range(len(messages)), messages))
    return linker, out


def members(out):
    """The members of each campaign in its last alert that is not resolved."""
    return {
        a.subject.id: set(a.subject.members) for a in out.alerts if a.state != "resolved"
    }.values()


def test_rounds_find_a_fleet_among_ordinary_keys():
    _, out = linked(population(), fleet(30))
    (found,) = members(out)
    assert found == set(fleet(30).names)


def test_ordinary_keys_are_no_campaign():
    assert not linked(population(600))[1].alerts


def test_fleets_with_different_tasks_are_two_campaigns():
    one, other = fleet(30, seed=2), fleet(20, seed=3, start=4.0, rate=30.0)
    _, out = linked(population(), one, other)
    assert sorted(map(sorted, members(out))) == sorted(map(sorted, (one.names, other.names)))


def test_fleet_is_found_by_its_task_alone():
    hydra = fleet(60, spread=2.0, mix=0.5)
    (found,) = members(linked(population(800), hydra)[1])
    assert len(found & set(hydra.names)) >= 0.95 * 60
    assert len(found - set(hydra.names)) <= 1


@pytest.mark.parametrize(
    "similar",
    [
        pytest.param(
            fleet(40, spread=20.0, shared={"payment": 7, "network": 8}, repeats=80),
            id="one customer's services",
        ),
        pytest.param(
            fleet(40, repeats=30, hours=2.0, follow_ups=0.7, surprisal=0.5, sessions=True),
            id="a class with one assignment",
        ),
        pytest.param(
            fleet(40, repeats=30, rate=6.0, hours=12.0, surprisal=2.0), id="a class with one tool"
        ),
        pytest.param(
            Crowd(
                40,
                2,
                own=3.0,
                repeats=60,
                rate=6.0,
                hours=12.0,
                start=3.0,
                surprisal=1.0,
                shared={"system": 5, "user_agent": 6},
            ),
            id="a library with a timer",
        ),
        pytest.param(
            fleet(40, sessions=True, surprisal=0.5, follow_ups=0.5, spread=10.0), id="colleagues"
        ),
        pytest.param(Crowd(200, 2, own=3.0, shared={"system": 5, "user_agent": 6}), id="a library"),
        pytest.param(
            fleet(40, mix=0.1, spread=20.0, repeats=200, shared={"network": 8, "system": 9}),
            id="tenants of a platform",
        ),
        pytest.param(
            fleet(30, mix=0.1, start=0.0, rate=60.0, end_users=200, follow_ups=0.4, repeats=400),
            id="applications on one source",
        ),
        pytest.param(fleet(12, rate=1.0, spread=20.0, hours=20.0, timers=12.0), id="cron jobs"),
        pytest.param(
            fleet(12, rate=12.0, repeats=4, timers=12.0, surprisal=6.0), id="monitoring probes"
        ),
        pytest.param(
            fleet(15, spread=20.0, follow_ups=0.95, sessions=True, rate=30.0), id="coding agents"
        ),
    ],
)
def test_similar_groups_are_no_campaign(similar):
    assert not linked(population(), similar)[1].alerts


@pytest.mark.parametrize(
    "attackers",
    [
        pytest.param(fleet(30, shared={"payment": 7, "network": 8}), id="one payment"),
        pytest.param(fleet(30, prompts_per_template=30.0), id="one wrapper"),
        pytest.param(fleet(30, sessions=True, rate=16.0, surprisal=5.0), id="sessions"),
        pytest.param(fleet(30, follow_ups=0.4), id="some follow-ups"),
        pytest.param(fleet(30, end_users=8), id="invented end users"),
        pytest.param(fleet(30, timers=6.0), id="timers"),
        pytest.param(fleet(6, rate=100.0, surprisal=5.0), id="few members"),
        pytest.param(fleet(30, hours=3.0, rate=30.0), id="three hours"),
        pytest.param(fleet(30, spread=3.0, rate=20.0), id="begun over hours"),
    ],
)
def test_fleet_that_hides_one_trait_is_a_campaign(attackers):
    found = set().union(*members(linked(population(), attackers)[1]))
    assert len(found & set(attackers.names)) >= 0.9 * attackers.keys
    assert found <= set(attackers.names)


def test_customer_with_own_alerts_is_a_campaign():
    (found,) = members(linked(population(), fleet(30, severity=2, shared={"payment": 7}))[1])
    assert found == set(fleet(30).names)


def test_keys_with_a_shared_network_are_bystanders():
    bystanders = population(6, seed=5, spread=2.0, hours=12.0, shared={"network": 8})
    linker, out = linked(population(), fleet(30, shared={"network": 8}), bystanders)
    (found,) = members(out)
    assert found == set(fleet(30).names)
    (campaign,) = (c for c in linker.partitions[TOPIC].rounds.campaigns if c.named)
    assert set(campaign.bystanders) == set(bystanders.names)


def test_shared_network_does_not_merge_two_campaigns():
    one = fleet(30, seed=2, shared={"network": 8})
    other = fleet(20, seed=3, start=6.0, rate=40.0, shared={"network": 8})
    assert len(members(linked(population(), one, other)[1])) == 2


def test_alert_has_finite_evidence_and_a_reason():
    first, *_, alert, _end = linked(population(), fleet(30))[1].alerts
    assert (alert.kind, alert.state, alert.subject.type) == ("campaign", "update", "campaign")
    assert np.isfinite([*alert.evidence.values()]).all()
    assert alert.evidence["members"] == len(alert.subject.members)
    assert alert.evidence["requests"] == pytest.approx(30 * 60, rel=0.1)
    assert alert.evidence["probability"] < 1e-6
    assert msgspec.json.decode(msgspec.json.encode(first), type=Alert) == first
    assert "30 coordinated keys" in alert.summary
    assert "they began together" in alert.summary


def test_large_fleet_is_found_with_mostly_ordinary_prompts():
    found = set().union(
        *members(linked(population(800), fleet(60, mix=0.6, own=4.0, rate=16.0))[1])
    )
    assert len(found & set(fleet(60).names)) >= 0.9 * 60


def test_campaign_is_critical_from_ten_members():
    def severity(keys):
        return linked(population(), fleet(keys, severity=2))[1].alerts[-1].severity

    assert (severity(6), severity(12)) == ("warning", "critical")


def test_members_get_block_decisions():
    _, out = linked(population(), fleet(30))
    assert {d.key for d in out.decisions} == set(fleet(30).names)
    assert {(d.action, d.origin) for d in out.decisions} == {("block", "campaign")}


def test_campaign_keeps_its_id_when_it_resumes():
    linker, out = linked(population(), fleet(30))
    (ended,) = (a for a in out.alerts if a.state == "resolved")
    messages = stream(population(seed=11, start=22.0), fleet(30, hours=30.0), until=40.0)
    offset = linker.partitions[TOPIC].offset
    out = linker.observe(Batch(TOPIC, range(offset, offset + len(messages)), messages))
    opened = [a for a in out.alerts if a.state == "open"]
    assert {a.subject.id for a in opened} == {ended.subject.id}
    assert opened[0].id != ended.id
    (campaign,) = (c for c in linker.partitions[TOPIC].rounds.campaigns if c.named)
    changes = [m.change for m in campaign.timeline if m.change != "grown"]
    assert changes == ["born", "ended", "born", "ended"]


def test_campaign_names_members_that_join_later():
    first, later = fleet(20, seed=2), fleet(20, seed=7, start=3.2, hours=6.5)
    later.task = direction(2)
    linker, out = linked(population(), first, later)
    (campaign,) = (c for c in linker.partitions[TOPIC].rounds.campaigns if c.named)
    assert [m.change for m in campaign.timeline][:2] == ["born", "grown"]
    assert set(campaign.named) == {*first.names, *later.names}
    assert len({a.id for a in out.alerts}) == 1


def test_parts_of_one_campaign_merge():
    parts = [
        fleet(14, seed=seed, severity=2, spread=0.3, shared={"payment": seed, "network": seed})
        for seed in (2, 7, 8)
    ]
    for part in parts:
        part.task = direction(2)
    linker, out = linked(population(), *parts)
    statements = {a.subject.id: a for a in out.alerts if a.state != "resolved"}
    most = max(statements.values(), key=lambda alert: len(alert.subject.members))
    assert set(most.subject.members) == {name for part in parts for name in part.names}
    for other in statements.keys() - {most.subject.id}:
        (campaign,) = (c for c in linker.partitions[TOPIC].rounds.campaigns if c.id == other)
        assert campaign.timeline[-1].change == "merged"


def test_alerts_do_not_depend_on_batch_size():
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


def test_linker_rejects_invalid_fingerprints_only():
    linker = Linker(Settings(), MemoryStore())
    linker.assign(TOPIC)
    crowd = population(20)
    good = to_messages(crowd.fingerprints(), crowd.names)
    out = linker.observe(Batch(TOPIC, range(22), [b"", *good, b"\x07\x00 of version 7"]))
    assert [r.rejection.reason for r in out.rejected] == ["not_a_fingerprint"] * 2
    assert [r.offset for r in out.rejected] == [0, 21]
    assert out.events == 20


def test_silent_keys_expire_after_two_days():
    linker, _ = linked(population(50))
    messages = stream(population(10, seed=4), until=80.0)
    offset = linker.partitions[TOPIC].offset
    linker.observe(Batch(TOPIC, range(offset, offset + len(messages)), messages))
    partition = linker.partitions[TOPIC]
    assert len(partition.population) < 50
    assert all(
        ts > MIDNIGHT + 30 * HOUR - 48 * HOUR
        for ts in partition.population.rows["fingerprint"]["ts"]
    )


def test_population_stays_within_its_capacity():
    linker, _ = linked(population(1_500), campaigns={"keys": 1_000})
    after_the_last_round = len(linker.partitions[TOPIC].population) - 1_000
    assert 0 < after_the_last_round <= SOURCES


@pytest.mark.parametrize(("surprisal", "named"), [(1.0, False), (9.0, True)])
def test_key_beside_a_flagged_fleet_is_named_if_unusual(surprisal, named):
    members = fleet(20, severity=2, surprisal=9.0, sessions=True, repeats=150)
    copied = fleet(1, seed=8, surprisal=surprisal, sessions=True, repeats=150)
    copied.task = members.task
    _, out = linked(population(), members, copied)
    found = {key for alert in out.alerts for key in alert.subject.members}
    assert len(found & set(members.names)) > 10
    assert (copied.names[0] in found) == named
    assert {decision.key for decision in out.decisions} == found


def test_ordinary_key_beside_a_fleet_is_not_named():
    beside = fleet(1, seed=8, surprisal=0.1)
    beside.task = fleet(30).task
    (found,) = members(linked(population(), fleet(30), beside)[1])
    assert found == set(fleet(30).names)


def test_group_of_which_nobody_is_unusual_is_not_reported():
    assert not linked(population(), fleet(60, surprisal=0.1))[1].alerts


def test_alert_says_when_a_campaign_is_unconfirmed():
    first = fleet(20, seed=2, surprisal=6.0)
    later = fleet(20, seed=7, start=3.2, hours=5.6, surprisal=6.0)
    later.task = first.task
    messages = stream(population(), first, later)
    linker = Linker(Settings(), MemoryStore())
    rounds = linker.assign(TOPIC).rounds
    alerts, at = [], 0
    while not alerts:
        alerts += linker.observe(Batch(TOPIC, range(at, at + 1), messages[at : at + 1])).alerts
        at += 1
    rounds.weights = Weights(-100.0, rounds.weights.criteria)
    rest = linker.observe(Batch(TOPIC, range(at, len(messages)), messages[at:])).alerts
    updated = next(alert.summary for alert in rest if alert.state == "update")
    assert "not confirmed" not in alerts[0].summary
    assert "not confirmed by the last evaluation: " in updated
