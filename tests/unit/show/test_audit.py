import pytest

from pipelines.show.actions.audit import brief


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (None, "nothing"),
        ({"on": True, "until": None}, "on"),
        (
            {"action": "throttle", "kind": "operator", "rate": 5.0, "expires_at": 60.0},
            "throttle at 5 per minute (operator) until 01 Jan 00:01",
        ),
        (
            [{"action": "block", "expires_at": 60.0}] * 2,
            ", ".join(["block until 01 Jan 00:01"] * 2),
        ),
        ({"owner": "sales", "expires_at": 60.0}, "allowed for sales until 01 Jan 00:01"),
        ({"severity": "critical", "kind": "burst", "at": 1.0}, "critical burst withdrawn"),
        ({"id": "s_1", "subject": "k_1", "until": 60.0}, "silenced until 01 Jan 00:01"),
        ({"keys": 500, "share": 0.21, "decision": {}}, "500 keys and 21% of requests"),
    ],
)
def test_audit_shows_a_state_in_a_few_words(state, words):
    assert brief(state) == words
