"""The summary of a replay."""

from monitor.alerting.alerts import Alert, Subject
from monitor.batch import Outcome
from pipelines.traffic.replay import ReplaySummary


def alert(kind, severity, decision, state="open"):
    return Alert(
        id=f"a_{kind}",
        kind=kind,
        state=state,
        severity=severity,
        score=1.0,
        subject=Subject("api_key", "k_1", []),
        detected_at=0.0,
        window=(0.0, 0.0),
        evidence={},
        summary=kind,
        decision=decision,
    )


def test_summary_keeps_the_alert_that_decides():
    summary = ReplaySummary()
    elicitation = alert("elicitation", "critical", "block")
    combined = alert("combined", "critical", "challenge")
    summary.add(Outcome(alerts=[alert("burst", "warning", "throttle"), elicitation, combined]))
    assert summary.worst == {"k_1": elicitation}


def test_summary_prefers_one_sign_to_several():
    summary = ReplaySummary()
    burst = alert("burst", "warning", "throttle")
    summary.add(Outcome(alerts=[burst, alert("combined", "warning", "throttle")]))
    assert summary.worst == {"k_1": burst}


def test_summary_keeps_the_latest_of_equal_alerts():
    summary = ReplaySummary()
    later = alert("elicitation", "critical", "block", "update")
    summary.add(Outcome(alerts=[alert("elicitation", "critical", "block"), later]))
    assert summary.worst == {"k_1": later}
