import msgspec
import pytest

from monitor.alerting.decisions import ActiveDecision, Decision

BLOCK = ActiveDecision(
    "k_1",
    "block",
    "a_1",
    made_at=0.0,
    seconds=60.0,
    steps=(("challenge", 30.0), ("throttle", 10.0)),
    expires_at=1_100.0,
)


@pytest.mark.parametrize(
    ("now", "action", "end"),
    [
        (1_000.0, "block", 1_060.0),
        (1_059.9, "block", 1_060.0),
        (1_060.0, "challenge", 1_090.0),
        (1_090.0, "throttle", 1_100.0),
        (1_100.0, "observe", 1_100.0),
    ],
)
def test_decision_leads_down_step_by_step(now, action, end):
    assert BLOCK.step_at(now) == (action, end)


def test_decision_holds_until_its_last_step_ends():
    decision = Decision("k_1", "block", "a_1", 0.0, 60.0, steps=(("throttle", 10.0),))
    assert ActiveDecision.start(decision, None, 1_000.0).expires_at == 1_070.0
    assert ActiveDecision.start(decision, 1_000.0, 1_065.0).action_at(1_065.0) == "throttle"
    assert ActiveDecision.start(decision, 1_000.0, 1_070.0) is None


def test_decision_of_an_older_version_has_no_steps():
    old = b'{"key":"k_1","action":"block","reason":"a_1","made_at":1.0,"seconds":60.0}'
    decision = msgspec.json.decode(old, type=ActiveDecision)
    assert decision.step_at(60.0) == ("block", 61.0)
