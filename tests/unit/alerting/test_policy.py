import numpy as np
import pytest

from monitor.alerting.alerts import ACTIONS, SEVERITIES, OpenAlert
from monitor.alerting.policy import (
    LADDERS,
    Policy,
    steps_down,
    usual_rate,
)
from monitor.config import Decisions
from monitor.kernels.due import next_due
from monitor.records.profile import DAY, REQUESTS, SCALES, blank

MINUTE = 60.0
OPENED = 1_000_000.0
SETTINGS = Decisions(ladder_minutes=30, throttle_minutes=40, challenge_minutes=80)
POLICY = Policy(SETTINGS)
HOUR_LEVEL = REQUESTS.start + SCALES.index("1h")


def alert(severity, kind="coverage", opened=OPENED):
    return OpenAlert(kind, severity, "a_1", opened)


def after(minutes, *alerts, decided=0.0, **options):
    """The action that is due some minutes after OPENED; `None` if none is."""
    ruling = POLICY.due(alerts, decided, OPENED + minutes * MINUTE, **options)
    return ruling and ruling.action


@pytest.mark.parametrize(
    ("severity", "actions"),
    [
        ("info", [None, "mark", "mark", "mark"]),
        ("warning", ["throttle", "challenge", "challenge", "challenge"]),
        ("critical", ["challenge", "block", "block", "block"]),
    ],
)
def test_decision_rises_while_the_alert_is_open(severity, actions):
    assert [after(minutes, alert(severity)) for minutes in (0, 30, 60, 1_000)] == actions


def test_volume_work_lists_and_takeovers_never_lead_to_a_block():
    assert after(1_000, alert("critical", "harvest")) == "throttle"
    assert after(1_000, alert("critical", "burst")) == "throttle"
    assert after(1_000, alert("critical", "takeover")) == "challenge"


def test_only_a_critical_alert_leads_to_a_block():
    for ladders in LADDERS.values():
        for severity in SEVERITIES:
            first, last = map(ACTIONS.index, ladders[severity])
            assert first <= last
            assert severity == "critical" or last < ACTIONS.index("block")


def test_next_due_stops_where_a_decision_is_due_under_some_limit():
    random, kinds = np.random.default_rng(1), [*LADDERS, "coverage"]
    records = np.array([blank()] * 3_000)
    each, slots = np.arange(len(records)), np.arange(len(kinds))
    records["severity"][:, slots] = random.integers(0, 4, (len(records), len(kinds)))
    records["opened"] = OPENED + 10 * MINUTE * random.integers(0, 9, records["opened"].shape)
    records["decided"] = OPENED + 10 * MINUTE * random.integers(0, 30, len(records))
    records["decided"][::4] = 0.0
    now = records["decided"].clip(OPENED + 90 * MINUTE) + MINUTE * (each % 30)
    limits = np.full((len(records), 2), [ACTIONS.index(limit) for limit in ("throttle", "block")])
    ladders = POLICY.ladders(kinds)
    findings = each, 0 * each, np.zeros(len(records), np.uint8), now, limits, ladders
    for i, record in enumerate(records):
        alerts = [
            alert(SEVERITIES[record["severity"][slot] - 1], kinds[slot], record["opened"][slot])
            for slot in slots[record["severity"][slots] > 0]
        ]
        due = any(
            POLICY.due(alerts, record["decided"], now[i], limit) for limit in ("throttle", "block")
        )
        assert (next_due(records, *findings, i) == i) == due


def test_decision_is_renewed_at_half_of_its_duration():
    burst, decided = alert("critical", "burst"), OPENED + 100 * MINUTE
    assert after(119, burst, decided=decided) is None
    assert after(120, burst, decided=decided) == "throttle"


def test_decision_rises_before_it_has_to_be_renewed():
    decided = OPENED + 25 * MINUTE
    assert after(29, alert("warning"), decided=decided) is None
    assert after(30, alert("warning"), decided=decided) == "challenge"


def test_changed_alert_is_decided_at_once():
    assert after(1, alert("critical"), decided=OPENED) is None
    assert after(1, alert("critical"), decided=OPENED, changed=True) == "challenge"


def test_limit_holds_on_every_step():
    assert after(500, alert("critical"), limit="throttle") == "throttle"


def test_strongest_alert_is_the_reason():
    weak, strong = alert("warning"), OpenAlert("elicitation", "critical", "a_2", OPENED)
    ruling = POLICY.due([weak, strong], 0.0, OPENED)
    decision = POLICY.decision("k_1", ruling, OPENED, origin="detector", scope="api_key")
    assert (decision.action, decision.reason, decision.kind) == ("block", "a_2", "elicitation")
    assert decision.mark == "m_2"


def test_way_down_has_every_weaker_action():
    down = (("challenge", 80 * MINUTE), ("throttle", 40 * MINUTE), ("mark", 60 * MINUTE))
    assert steps_down("block", SETTINGS) == down
    assert steps_down("mark", SETTINGS) == steps_down("observe", SETTINGS) == ()


def record(hours=48.0, days=4.0, usual=120.0, deviation=0.0):
    found = np.array([blank()])[0]
    found["first_seen"], found["last_seen"] = OPENED, OPENED + days * DAY
    found["own_hours"] = hours
    found["own_mean"][HOUR_LEVEL] = np.log2(1.0 + usual)
    found["own_variance"][HOUR_LEVEL] = deviation**2
    return found


def test_rate_is_that_of_the_usual_busy_hours():
    assert usual_rate(record()) == pytest.approx(2.0)
    assert usual_rate(record(deviation=1.0)) == pytest.approx((2 * 121 - 1) / 60)
    assert usual_rate(record(usual=3.0)) == 1.0


@pytest.mark.parametrize("new", [{"hours": 10.0}, {"days": 1.0}])
def test_key_without_a_past_has_no_usual_rate(new):
    assert usual_rate(record(**new)) is None


def test_throttle_without_a_usual_rate_has_the_configured_one():
    ruling = POLICY.due([alert("warning")], 0.0, OPENED)
    made = POLICY.decision("k_1", ruling, OPENED, origin="detector", scope="api_key")
    assert made.rate == SETTINGS.throttle_rate
