import msgspec
import pytest

from monitor.alerting.decisions import ActiveDecision
from monitor.alerting.enforcement import (
    Allowance,
    Cleared,
    Control,
    Effective,
    Switch,
    Withdrawal,
    effective,
)

NOW = 1_000.0
BLOCK = ActiveDecision("k_1", "block", "a_1", 0.0, 60.0, kind="elicitation", expires_at=1_060.0)
THROTTLE = ActiveDecision("k_1", "throttle", "a_2", 0.0, 60.0, kind="burst", expires_at=1_060.0)


def by_person(action, key="k_1", **fields):
    return ActiveDecision(
        key, action, "o_1", NOW, 60.0, "operator", kind="operator", expires_at=1_060.0, **fields
    )


def switched(**switches):
    found = {name.replace("__", ":"): Switch(on, "ann", "x", 0.0) for name, on in switches.items()}
    return Control(found)


def allowing(subject, expires_at=2_000.0):
    return Control(allowed={subject: Allowance(subject, "sales", "ann", "x", 0.0, expires_at)})


def withdrawing(alert):
    entry = Withdrawal(alert, "k_1", "elicitation", "critical", "ann", "x", 0.0)
    return Control(withdrawn={alert: entry})


def test_effective_is_nothing_without_decisions():
    assert effective([None], Control(), NOW, shadow=False) == Effective()


def test_effective_is_strongest_decision():
    found = effective([THROTTLE, BLOCK], Control(), NOW, shadow=False)
    assert found == Effective("block", "block", BLOCK, "")


def test_effective_leaves_out_what_has_ended():
    assert effective([BLOCK], Control(), 1_060.0, shadow=False) == Effective()


def test_effective_follows_steps_down():
    decision = msgspec.structs.replace(BLOCK, steps=(("throttle", 30.0),), expires_at=1_020.0)
    assert effective([decision], Control(), NOW, shadow=False).action == "throttle"


def test_effective_compares_the_steps_that_are_reached():
    down = msgspec.structs.replace(BLOCK, steps=(("throttle", 30.0),), expires_at=1_020.0)
    challenge = msgspec.structs.replace(THROTTLE, action="challenge")
    assert effective([down, challenge], Control(), 900.0, shadow=False).decision == down
    assert effective([down, challenge], Control(), NOW, shadow=False).decision == challenge


@pytest.mark.parametrize(
    ("control", "why"),
    [
        (switched(kill=True), "kill"),
        (allowing("k_1"), "allowed"),
        (allowing("p_1"), "allowed"),
        (withdrawing("a_1"), "withdrawn"),
        (switched(shadow=True), "shadow"),
        (switched(shadow__elicitation=True), "shadow"),
    ],
)
def test_people_hold_decision_back(control, why):
    decision = msgspec.structs.replace(BLOCK, ties=("a_9", "p_1"))
    found = effective([decision], control, NOW, shadow=False)
    assert found == Effective("observe", "block", decision, why)


def test_kill_switch_holds_back_what_person_decided():
    found = effective([by_person("block")], switched(kill=True), NOW, shadow=False)
    assert (found.action, found.why) == ("observe", "kill")


def test_kill_switch_that_is_off_holds_nothing_back():
    assert effective([BLOCK], switched(kill=False), NOW, shadow=False).action == "block"


def test_allowance_exempts_from_what_person_decided():
    found = effective([by_person("block")], allowing("k_1"), NOW, shadow=False)
    assert (found.action, found.why) == ("observe", "allowed")


def test_allowance_ends():
    control = allowing("k_1", expires_at=NOW)
    assert effective([BLOCK], control, NOW, shadow=False).action == "block"


def test_allowance_of_one_key_does_not_exempt_another_in_the_same_request():
    other = msgspec.structs.replace(BLOCK, key="k_2")
    found = effective([BLOCK, other], allowing("k_1"), NOW, shadow=False)
    assert (found.action, found.decision) == ("block", other)


@pytest.mark.parametrize("action", ["observe", "throttle"])
def test_person_weakens_decision(action):
    person = by_person(action)
    found = effective([BLOCK, person, THROTTLE], Control(), NOW, shadow=False)
    assert found == Effective(action, action, person, "operator")


def test_person_does_not_decide_on_other_subjects():
    other = msgspec.structs.replace(BLOCK, key="a_2")
    found = effective([by_person("observe"), other], Control(), NOW, shadow=False)
    assert found.decision == other


def test_withdrawn_alert_leaves_other_alerts_in_force():
    found = effective([BLOCK, THROTTLE], withdrawing("a_1"), NOW, shadow=False)
    assert (found.action, found.would_be, found.decision) == ("throttle", "block", THROTTLE)


@pytest.mark.parametrize(
    ("control", "setting", "action"),
    [
        (Control(), True, "observe"),
        (Control(), False, "block"),
        (switched(shadow=False), True, "block"),
        (switched(shadow=True), False, "observe"),
        (switched(shadow=True, shadow__elicitation=False), True, "block"),
        (switched(shadow=False, shadow__elicitation=True), False, "observe"),
        (switched(shadow__burst=True), False, "block"),
    ],
)
def test_most_specific_shadow_switch_applies(control, setting, action):
    assert effective([BLOCK], control, NOW, shadow=setting).action == action


def test_shadow_switch_returns_to_setting_at_its_end():
    control = Control({"shadow": Switch(False, "ann", "x", 0.0, until=NOW)})
    assert effective([BLOCK], control, NOW, shadow=True).why == "shadow"


def test_decision_in_shadow_stays_there():
    decision = msgspec.structs.replace(BLOCK, shadow=True)
    found = effective([decision], switched(shadow=False), NOW, shadow=False)
    assert (found.action, found.would_be) == ("observe", "block")


def test_caps_limit_to_throttle_until_person_lifts_them():
    decision = msgspec.structs.replace(BLOCK, capped=True)
    found = effective([decision], Control(), NOW, shadow=False)
    assert found == Effective("throttle", "block", decision, "capped")
    assert effective([decision], switched(caps=False), NOW, shadow=False).action == "block"


def test_control_applies_entries_of_the_feed():
    switch = Switch(True, "ann", "x", 0.0)
    control = Control().apply("xm:control:shadow:burst", msgspec.json.encode(switch))
    assert control == Control({"shadow:burst": switch})
    assert control.apply("xm:control:shadow:burst", b"") == Control()
    assert control.apply("xm:d:k_1", b"{}") is control


def test_effective_is_lifted_for_a_cleared_member_alone():
    one, other = (
        ActiveDecision(key, "block", "a_1", 0.0, 60.0, kind="campaign", expires_at=1_060.0)
        for key in ("k_1", "k_2")
    )
    entry = Withdrawal("a_1", "k_1", "campaign", "critical", "ann", "x", 0.0, for_one=True)
    control = Control(withdrawn={entry.name: entry})
    assert effective([one], control, NOW, shadow=False).why == "withdrawn"
    assert effective([other], control, NOW, shadow=False).action == "block"


def test_withdrawals_of_one_subject_and_kind_add_up():
    def entry(alert, severity, requests, *members):
        return Withdrawal(
            alert, "c_1", "campaign", severity, "ann", "x", 0.0, requests, list(members)
        )

    entries = [entry("a_1", "warning", 5_000.0, "k_1"), entry("a_2", "critical", 10.0, "k_2")]
    control = Control(withdrawn={each.name: each for each in entries})
    (cleared,) = control.withdrawn_by_subject["c_1"].values()
    assert cleared == Cleared(3, 5_000.0, frozenset({"k_1", "k_2"}))
    assert cleared.covers(3, 40_000.0)
    assert not cleared.covers(3, 40_001.0)


def test_withdrawal_without_numbers_covers_any_volume():
    assert Cleared(3).covers(3, 1e9)
    assert not Cleared(2).covers(3, 0.0)


@pytest.mark.parametrize("other", [BLOCK, by_person("block", mark="m_2")])
def test_mark_is_that_of_the_campaign(other):
    decision = msgspec.structs.replace(THROTTLE, origin="campaign", kind="campaign", mark="m_1")
    found = effective([decision, other], Control(), NOW, shadow=False)
    assert (found.action, found.decision.reason, found.decision.mark) == (
        "block",
        other.reason,
        "m_1",
    )
    for control in (withdrawing("a_2"), switched(shadow__campaign=True)):
        found = effective([decision, other], control, NOW, shadow=False)
        assert (found.action, found.decision.mark) == ("block", other.mark)


def test_person_who_lifts_decision_lifts_its_mark():
    decision = msgspec.structs.replace(BLOCK, origin="campaign", mark="m_1")
    found = effective([decision, by_person("observe")], Control(), NOW, shadow=False)
    assert (found.action, found.decision.mark) == ("observe", None)
