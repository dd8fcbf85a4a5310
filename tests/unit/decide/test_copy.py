import time

import msgspec
import pytest

from monitor.alerting.decisions import ActiveDecision
from monitor.alerting.enforcement import Control, Switch
from pipelines.decide.copy import DecisionCopy, Entry, decoded, held_by, split_name
from tests.support.decisions import decide_on, loaded_copy


@pytest.fixture
def copy():
    return loaded_copy()


def decision(subject, action="block", **fields):
    now = time.time()
    return ActiveDecision(subject, action, "a_1", now, 60.0, expires_at=now + 60, **fields)


def action(copy, *subjects):
    return copy.find(subjects, time.time()).action


def test_strongest_decision_of_all_subjects_is_found(copy):
    decide_on(copy, "k_1", "block")
    decide_on(copy, "k_2", "throttle")
    assert action(copy, "k_2", "k_1", "k_3") == "block"
    assert action(copy, "k_2", "k_3") == "throttle"
    assert action(copy, "k_3") == "observe"


def test_each_origin_has_a_decision_of_its_own(copy):
    decide_on(copy, "k_1", "throttle")
    decide_on(copy, "campaign:k_1", "block", key="k_1", origin="campaign")
    assert action(copy, "k_1") == "block"
    copy.apply([Entry("xm:d:campaign:k_1", b"")], "9-0")
    assert action(copy, "k_1") == "throttle"


def test_operator_lifts_a_decision_of_one_subject_only(copy):
    decide_on(copy, "k_1", "block")
    decide_on(copy, "operator:k_2", "observe", key="k_2", origin="operator")
    assert action(copy, "k_1", "k_2") == "block"
    decide_on(copy, "operator:k_1", "observe", key="k_1", origin="operator")
    assert action(copy, "k_1", "k_2") == "observe"


def test_decision_ends_without_an_entry(copy):
    decide_on(copy, "k_1", "block", expires_at=time.time() + 5.0)
    assert copy.find(["k_1"], time.time() + 6.0).action == "observe"


def test_loading_replaces_everything_and_says_what_may_have_changed(copy):
    changed = []
    copy.changed = changed.append
    decide_on(copy, "k_1", "block")
    copy.load(held_by([decision("k_2")]), Control(), "7-0")
    assert (action(copy, "k_1"), action(copy, "k_2")) == ("observe", "block")
    assert changed[0] == ["k_1"]
    assert changed[1] is None or set(changed[1]) == {"k_1", "k_2"}
    assert (copy.position, copy.origin) == ("7-0", "0-0")


def test_switch_applies_to_all(copy):
    decide_on(copy, "k_1", "block")
    value = msgspec.json.encode(Switch(True, "alice", "test", time.time()))
    copy.apply([Entry("xm:control:kill", value)], "9-0")
    assert copy.passes_all
    assert action(copy, "k_1") == "observe"
    copy.apply([Entry("xm:control:kill", b"")], "10-0")
    assert action(copy, "k_1") == "block"


def test_unreadable_decision_is_left_out_and_logged(copy, caplog):
    good = msgspec.json.encode(decision("k_1"))
    copy.apply(list(decoded([("xm:d:k_2", b"{}"), ("xm:d:k_1", good)])), "9-0")
    assert action(copy, "k_1") == "block"
    assert "decision_unreadable key=xm:d:k_2" in caplog.text


def test_unreadable_switch_is_an_error():
    with pytest.raises(msgspec.MsgspecError):
        list(decoded([("xm:control:kill", b"[]")]))


def test_copy_ages_until_it_is_confirmed():
    copy = DecisionCopy(shadow=False)
    assert not copy.loaded
    assert copy.age == float("inf")
    copy.load({}, Control(), "0-0")
    assert copy.age < 5.0


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("xm:d:k_1", ("detector", "k_1")),
        ("xm:d:campaign:k_1", ("campaign", "k_1")),
        ("xm:d:operator:u_1", ("operator", "u_1")),
    ],
)
def test_name_has_origin_and_subject(name, parts):
    assert split_name(name) == parts
