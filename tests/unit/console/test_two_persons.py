import time

import pytest

from monitor.errors import InputError
from monitor.store.control import ControlStore
from pipelines.console.actions.decide import carry_out
from pipelines.console.actions.order import Order, checked
from pipelines.console.actions.proposals import HOUR, Proposals
from pipelines.show.actions.audit import brief

KEYS = tuple(f"k_{i:024x}" for i in range(30))
NOW = 1_772_000_000.0
ORDER = Order(KEYS[:12], "block", 3600.0, "INC-7")


@pytest.fixture
def control(redis_url):
    return ControlStore(redis_url)


@pytest.fixture
def proposals(control):
    return Proposals(control.server)


def propose(proposals, who="ann", order=ORDER):
    return proposals.propose(order, who, (), len(order.subjects), "r_1")


def test_small_blocks_of_a_person_add_up_within_an_hour(proposals):
    def admits(keys, who="ann", after=0.0):
        return proposals.admit(who, dict.fromkeys(keys, 1), 10, NOW + after)

    assert admits(KEYS[:8])
    assert admits(KEYS[:8])  # the same again
    assert not admits(KEYS[8:11])
    assert not admits(KEYS[8:11], who=" ANN ")  # the same person
    assert admits(KEYS[8:10])
    assert admits(KEYS[10:20], who="bob")
    assert admits(KEYS[20:30], after=HOUR)


def test_account_counts_with_all_its_keys(proposals):
    assert not proposals.admit("ann", {"a_1": 11}, 10, NOW)
    assert proposals.admit("ann", {"a_1": 10}, 10, NOW)


def test_proposal_needs_another_person(proposals, control):
    made = propose(proposals)
    for same in ("Ann", "ann@example.com", "\uff41nn+2@example.com"):
        with pytest.raises(InputError, match="your own"):
            proposals.take(made.id, same, "I am sure")
    assert proposals.take(made.id, "bob", "seen") == made
    with pytest.raises(InputError, match="bob is carrying it out"):
        proposals.take(made.id, "cem", "seen")
    proposals.finish(made, ())
    with pytest.raises(InputError, match="does not wait"):
        proposals.take(made.id, "cem", "seen")
    proposed, approved = control.audit()
    assert (proposed.what, proposed.who, proposed.reference) == ("propose", "ann", "r_1")
    assert (approved.what, approved.who, approved.reference) == ("approve", "bob", "r_1")
    assert brief(proposed.after) == brief(approved.before)
    assert brief(proposed.after).startswith("block 12 keys, to be approved by")


def test_proposal_stays_with_the_subjects_that_failed(proposals):
    made = propose(proposals)
    proposals.take(made.id, "bob", "seen")
    proposals.finish(made, KEYS[:2])
    left, subjects = proposals.read(made.id, time.time())
    assert (left.subjects, subjects) == (2, KEYS[:2])
    proposals.take(made.id, "bob", "again")


def test_proposal_that_is_refused_or_expired_cannot_be_taken(proposals):
    made = propose(proposals)
    assert proposals.all(made.until) == []
    with pytest.raises(InputError, match="expired"):
        proposals.read(made.id, made.until)
    proposals.refuse(made.id, "bob", "customers")
    with pytest.raises(InputError, match="does not wait"):
        proposals.take(made.id, "bob", "seen")


def test_order_is_carried_out_with_one_reference(control):
    done = carry_out(control, ORDER, "ann", "r_2")
    audit = [each for each in control.audit() if each.what == "decide"]
    assert [each.subject for each in audit] == list(ORDER.subjects)
    assert {each.reference for each in audit} == {"r_2"}
    assert (len(done.changes), done.failed) == (12, {})


@pytest.mark.parametrize(
    ("order", "locks_out"),
    [
        (Order(KEYS[:1], "block", 60.0, "x"), True),
        (Order(KEYS[:1], "challenge", 60.0, "x"), True),
        (Order(KEYS[:1], "throttle", 60.0, "x", 0.001), True),
        (Order(KEYS[:1], "throttle", 60.0, "x", 5.0), False),
        (Order(KEYS[:1], "throttle", 60.0, "x"), False),
        (Order(KEYS[:1], "observe", 60.0, "x"), False),
    ],
)
def test_slow_throttle_is_a_lockout(order, locks_out):
    assert order.locks_out == locks_out


@pytest.mark.parametrize(
    "change",
    [
        {"subjects": ()},
        {"subjects": ("k_1",)},
        {"subjects": ("k_" + "1" * 24 + "\n",)},
        {"action": "delete"},
        {"seconds": float("nan")},
        {"why": " "},
        {"why": "a\nb"},
        {"rate": 5.0},
        {"action": "throttle", "rate": float("inf")},
    ],
)
def test_order_with_wrong_input_is_refused(change):
    fields = {"subjects": KEYS[:1], "action": "block", "seconds": 60.0, "why": "x"}
    with pytest.raises(InputError):
        checked(Order(**(fields | change)))
