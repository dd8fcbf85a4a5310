"""Decisions of the engine and the linker: they rise, lead down and name the ties of a key."""

from itertools import groupby

import numpy as np

from monitor.batch import Batch
from monitor.campaigns.fingerprint import from_messages, ties
from monitor.config import Settings
from monitor.detectors import DETECTORS
from monitor.detectors.base import Finding
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.requests.ties import Ties
from monitor.store.memory import MemoryStore
from tests.support.requests import START, elicitor, request

IDENTITY = Identity(b"0123456789abcdef")


class Curious:
    """A detector to which every key is as unusual as the given probability says."""

    name, slot, levels, evidence = "pivot", 4, (), {}

    def __init__(self, p):
        self.p = p

    def __call__(self, keys, baseline):
        return Finding(np.full(len(keys), self.p), keys["last_seen"])

    def summary(self, evidence):
        return "unusual"


def decisions(values, detectors=DETECTORS):
    engine = Engine(Settings(), IDENTITY, MemoryStore(), detectors=detectors)
    engine.assign("t:0")
    return engine.observe(Batch("t:0", range(len(values)), values)).decisions


def timer(prompt, hours=3.0, every=10.0):
    """A key that asks on a timer and never follows up."""
    options = {"turns": 1, "max_tokens": 8_000, "output_tokens": 3_000}
    return [
        request("sk-timer", i * every, prompt.format(i), **options)
        for i in range(int(hours * 3_600 / every))
    ]


def test_decision_rises_while_the_behaviour_lasts():
    found = decisions(timer("What about topic {}?"), [Curious(5e-5)])
    assert [action for action, _ in groupby(each.action for each in found)] == [
        "throttle",
        "challenge",
    ]
    rise = next(each.made_at for each in found if each.action == "challenge")
    assert 1_800.0 <= rise - found[0].made_at < 2_100.0


def test_alert_of_a_weaker_kind_has_the_decision_on_its_subject():
    engine = Engine(Settings(), IDENTITY, MemoryStore(), detectors=[*DETECTORS, Curious(5e-5)])
    engine.assign("t:0")
    outcome = engine.observe(Batch("t:0", range(30), elicitor(count=30)))
    alerts = {each.detected_at: each for each in outcome.alerts}
    decided = [each for each in outcome.decisions if each.made_at in alerts]
    assert {each.kind for each in outcome.alerts if each.decision == "block"} > {"elicitation"}
    assert [alerts[each.made_at].decision for each in decided] == [each.action for each in decided]


def test_decision_on_an_info_alert_rises_to_a_mark():
    found = decisions(timer("What about topic {}?"), [Curious(5e-4)])
    assert {each.action for each in found} == {"mark"}
    assert found[0].made_at >= START + 1_800.0
    assert all(each.steps == () for each in found)


def test_block_leads_down_through_the_weaker_actions():
    (first, *_) = [each for each in decisions(elicitor(count=30)) if each.action == "block"]
    assert [action for action, _ in first.steps] == ["challenge", "throttle", "mark"]
    assert first.duration == (240 + 60 + 30 + 60) * 60
    assert (first.kind, first.mark) == ("elicitation", "m" + first.reason[1:])


def test_decision_names_the_ties_of_the_key():
    made = Ties(IDENTITY)
    values = elicitor(count=30, account="acme", payment="card-1", ip="192.0.2.7")
    found = decisions(values)[-1]
    assert found.ties == (
        IDENTITY.account("acme"),
        made.payment("card-1"),
        made.network("192.0.2.7"),
    )


def test_one_request_through_another_network_does_not_tie_the_key_to_it():
    values = elicitor(count=200, every=60.0, ip="192.0.2.7")
    other = Ties(IDENTITY).network("198.51.100.1")
    moved = elicitor(count=200, every=60.0, ip="198.51.100.1")
    mixed = [moved[i] if i % 10 == 0 else value for i, value in enumerate(values)]
    assert decisions(mixed)
    assert not any(other in each.ties for each in decisions(mixed))
    assert any(other in each.ties for each in decisions(moved))


def test_decisions_lose_a_payment_that_not_all_requests_have():
    values = elicitor(count=900, every=60.0, payment="card-1")
    other = elicitor(count=900, every=60.0, payment="card-2")
    mixed = [other[i] if i % 3 == 0 else value for i, value in enumerate(values)]
    kept = [len(each.ties) for each in decisions(mixed)]
    assert kept == sorted(kept, reverse=True)
    assert (kept[0], kept[-1]) == (1, 0)


def test_campaign_decisions_name_account_payment_and_usual_network():
    values = elicitor(count=100, account="acme", payment="card-1", ip="192.0.2.7")
    engine = Engine(Settings(), IDENTITY, MemoryStore())
    engine.assign("t:0")
    out = engine.observe(Batch("t:0", range(len(values)), values))
    fingerprints, _, _ = from_messages([each.value for each in out.fingerprints])
    made = Ties(IDENTITY)
    expected = (IDENTITY.account("acme"), made.payment("card-1"), made.network("192.0.2.7"))
    assert {ties(each) for each in fingerprints[1:]} == {expected}
