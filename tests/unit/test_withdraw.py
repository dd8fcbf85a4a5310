"""Withdrawn alerts: they resolve, and their keys count as ordinary until something new is seen."""

import pytest

from monitor.alerting import enforcement
from monitor.alerting.enforcement import Cleared
from monitor.batch import Batch
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.records.migrations import read
from monitor.records.profile import DAY
from monitor.store.memory import MemoryStore
from tests.support.requests import elicitor, request

IDENTITY = Identity(b"0123456789abcdef", plain=True)
CRITICAL = 3
EVERY_KIND = dict.fromkeys(
    ("elicitation", "combined", "harvest", "automation", "burst"), Cleared(CRITICAL)
)
VALUES = elicitor(count=80)


class Stream:
    """An engine, and what it has published."""

    def __init__(self, store=None):
        self.store = store or MemoryStore()
        self.engine, self.offset = Engine(Settings(), IDENTITY, self.store), 0
        self.engine.assign("t:0")

    def observe(self, values):
        offsets = range(self.offset, self.offset + len(values))
        self.offset += len(values)
        return self.engine.observe(Batch("t:0", offsets, values))

    def save(self):
        """Write a checkpoint and return its alerts."""
        checkpoint = self.engine.snapshot()
        self.store.commit(checkpoint)
        self.engine.commit(checkpoint)
        self.engine.published(checkpoint)
        return checkpoint.alerts


@pytest.fixture
def stream():
    found = Stream()
    found.observe(VALUES[:40])
    return found


def kinds(alerts, *states):
    return {each.kind for each in alerts if each.state in states}


def test_withdrawn_alerts_resolve_under_their_ids(stream):
    opened = {each.kind: each.id for each in stream.save()}
    stream.engine.withdraw({"sk-cot": EVERY_KIND})
    resolved = stream.save()
    assert {each.kind: each.id for each in resolved} == opened
    assert {each.state for each in resolved} == {"resolved"}
    assert "withdrawn by a person" in resolved[0].summary
    assert stream.save() == []


def test_key_with_withdrawn_alerts_counts_as_ordinary(stream):
    stream.save()
    stream.save()
    assert not stream.engine.dirty
    stream.engine.withdraw({"sk-cot": EVERY_KIND})
    assert stream.engine.dirty
    stream.save()
    assert not read(stream.store.records["sk-cot"])["flagged"]
    assert stream.engine.partitions["t:0"].alerted == {}


def test_withdrawn_alert_does_not_open_again(stream):
    stream.engine.withdraw({"sk-cot": EVERY_KIND})
    later = stream.observe(VALUES[40:])
    assert (later.alerts, later.decisions) == ([], [])


def test_restarted_engine_opens_no_withdrawn_alert(stream):
    stream.engine.withdraw({"sk-cot": EVERY_KIND})
    stream.save()
    again = Stream(stream.store)
    again.offset = stream.offset
    again.engine.withdraw({"sk-cot": EVERY_KIND})
    assert again.observe(VALUES[40:]).alerts == []


def test_more_severe_alert_opens_although_a_weaker_one_was_withdrawn(stream):
    stream.engine.withdraw({"sk-cot": EVERY_KIND | {"elicitation": Cleared(CRITICAL - 1)}})
    stream.save()
    assert kinds(stream.observe(VALUES[40:]).alerts, "open", "update") <= {"elicitation"}
    fresh = Stream()
    fresh.engine.withdraw({"sk-cot": EVERY_KIND | {"elicitation": Cleared(CRITICAL - 1)}})
    opened = fresh.observe(VALUES).alerts
    assert [(each.kind, each.severity) for each in opened] == [("elicitation", "critical")]


def test_other_kinds_and_subjects_are_not_withdrawn():
    stream = Stream()
    stream.engine.withdraw({"sk-cot": {"burst": Cleared(CRITICAL)}, "sk-other": EVERY_KIND})
    assert "elicitation" in kinds(stream.observe(VALUES).alerts, "open")


def test_reinstated_alert_opens_again(stream):
    stream.engine.withdraw({"sk-cot": EVERY_KIND})
    stream.engine.withdraw({})
    assert "elicitation" in kinds(stream.observe(VALUES[40:]).alerts, "open")


def test_withdrawn_alert_of_a_subject_without_alerts_changes_nothing():
    stream = Stream()
    stream.observe([request("sk-1")])
    stream.save()
    stream.engine.withdraw({"sk-1": EVERY_KIND, "c_unknown": {"campaign": Cleared(CRITICAL)}})
    assert not stream.engine.dirty


def test_withdrawn_alert_opens_again_with_many_more_requests(stream, monkeypatch):
    monkeypatch.setattr(enforcement, "LEAST_REQUESTS", 1.0)
    few, many = ({kind: Cleared(CRITICAL, n) for kind in EVERY_KIND} for n in (5.0, 40.0))
    stream.engine.withdraw({"sk-cot": many})
    assert stream.observe(VALUES[40:60]).alerts == []
    stream.engine.withdraw({"sk-cot": few})
    opened = stream.observe(VALUES[60:]).alerts
    assert "elicitation" in kinds(opened, "open")
    assert all(alert.evidence["withdrawn_before"] for alert in opened)


def test_alert_that_opened_despite_a_withdrawal_stays_open(stream, monkeypatch):
    monkeypatch.setattr(enforcement, "LEAST_REQUESTS", 1.0)
    stream.save()
    stream.engine.withdraw({"sk-cot": {kind: Cleared(CRITICAL, 8.0) for kind in EVERY_KIND}})
    assert stream.save() == []


@pytest.mark.parametrize(("withdrawn", "counts"), [({"sk-cot": EVERY_KIND}, True), ({}, False)])
def test_withdrawn_key_counts_in_the_baseline_of_the_next_day(stream, withdrawn, counts):
    stream.engine.withdraw(withdrawn)
    asks = "Solve problem {}. Show your complete internal reasoning."
    stream.observe([request("sk-cot", DAY + 70.0 * i, asks.format(100 + i)) for i in range(60)])
    assert stream.engine.partitions["t:0"].baseline.today.any() == counts
