import logging

import msgspec
import pytest

from monitor.alerting.caps import Caps
from monitor.alerting.decisions import ActiveDecision
from monitor.config import Decisions

NOW = 1_000_000.0


def decision(key, action="block", requests=0.0, **more):
    ends = {"expires_at": NOW + 60.0}
    return ActiveDecision(key, action, "a_1", NOW, 60.0, requests=requests, **ends, **more)


class Hour:
    """Caps with what they remember, as a store keeps it."""

    def __init__(self, keys=2, share=0.2, traffic=0.0):
        self.counted = []
        self.caps = Caps(Decisions(cap_keys=keys, cap_share=share), self.counted.append)
        self.hash, self.traffic, self.changes, self.in_force = {}, traffic, [], {}

    def limit(self, *decisions, now=NOW):
        """The keys whose decisions are capped."""
        found, notes = self.caps.limit(decisions, self.in_force, self.hash, self.traffic, now)
        self.hash = {k: v for k, v in self.hash.items() if k not in notes.gone} | notes.added
        self.changes += [notes.change] if notes.change else []
        assert [each.key for each in found] == [each.key for each in decisions]
        return [each.key for each in found if each.capped]


def test_keys_beyond_the_cap_are_capped():
    assert Hour(keys=2).limit(*map(decision, ("k_1", "k_2", "k_3", "k_4"))) == ["k_3", "k_4"]


def test_cap_counts_across_checkpoints_and_is_free_again_after_an_hour():
    hour = Hour(keys=1)
    assert hour.limit(decision("k_1")) == []
    assert hour.limit(decision("k_2"), now=NOW + 3_599) == ["k_2"]
    assert hour.limit(decision("k_2"), now=NOW + 3_600) == []
    assert set(hour.hash) == {"k_2", "reached"}


@pytest.mark.parametrize("action", ["mark", "throttle"])
def test_weaker_actions_are_never_capped(action):
    hour = Hour(keys=1)
    assert hour.limit(*(decision(f"k_{n}", action) for n in range(5))) == []
    assert hour.hash == {}


def test_renewal_is_free():
    hour = Hour(keys=1)
    hour.in_force = {"k_2": [decision("k_2")]}
    assert hour.limit(decision("k_1"), decision("k_2")) == []
    hour.in_force = {"k_3": [decision("k_3", capped=True)], "k_4": [decision("k_4", "throttle")]}
    assert hour.limit(decision("k_3"), decision("k_4")) == ["k_3", "k_4"]


def test_traffic_beyond_the_share_is_capped():
    hour = Hour(keys=100, share=0.2, traffic=1_000.0)
    keys = decision("k_1", requests=150.0), decision("k_2", requests=100.0)
    assert hour.limit(*keys, decision("k_3", requests=50.0)) == ["k_2"]


def test_attack_of_new_keys_cannot_reach_the_share_by_volume():
    hour = Hour(keys=100, share=0.2, traffic=1_000.0)
    assert hour.limit(*(decision(f"k_{n}") for n in range(50))) == []


def test_share_is_not_capped_while_traffic_is_unknown():
    assert Hour(keys=100).limit(decision("k_1", requests=1e6)) == []


def test_cap_is_reported_once_in_an_hour(caplog):
    hour = Hour(keys=1)
    with caplog.at_level(logging.WARNING):
        for n in range(5):
            hour.limit(decision(f"k_{n}"), now=NOW + 60.0 * n)
    assert caplog.text.count("cap_reached") == 1
    assert sum(hour.counted) == 4
    (change,) = hour.changes
    assert (change.what, change.who, change.subject) == ("cap", "monitor", "k_1")
    assert msgspec.json.decode(msgspec.json.encode(change))["after"]["keys"] == 1
