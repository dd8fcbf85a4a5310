from __future__ import annotations

from datetime import datetime
from typing import Any

from monitor.alerting.alerts import Alert, Severity, State, Subject
from pipelines.notify.alertmanager import translate

NOW = 1_772_050_000.0


def alert(state: State, severity: Severity = "warning", score: float = 0.9) -> Alert:
    return Alert(
        id="a_1",
        kind="burst",
        state=state,
        severity=severity,
        score=score,
        subject=Subject("api_key", "k_1"),
        detected_at=1_772_040_000.0,
        window=(1_772_039_000.0, 1_772_040_000.0),
        evidence={"requests": 400.0, "ratio": 31.25},
        summary="Key k_1 sends 31 times its usual rate.",
        decision="throttle",
    )


def ends(posted: dict[str, Any]) -> float:
    return datetime.fromisoformat(posted["endsAt"]).timestamp()


def test_labels_never_change_during_an_alert():
    (opened,) = translate(alert("open"), {"warning"}, NOW)
    (updated,) = translate(alert("update", score=0.99), {"warning"}, NOW + 60)
    assert updated["labels"] == opened["labels"]
    assert updated["annotations"] != opened["annotations"]


def test_escalated_alert_ends_under_its_former_severity():
    critical, warning = translate(alert("update", "critical"), {"warning", "critical"}, NOW)
    assert (critical["labels"]["severity"], ends(critical) > NOW) == ("critical", True)
    assert (warning["labels"]["severity"], ends(warning) <= NOW) == ("warning", True)


def test_resolved_alert_ends_in_every_severity():
    sent: set[Severity] = {"warning", "critical"}
    assert all(ends(each) <= NOW for each in translate(alert("resolved"), sent, NOW))


def test_old_alert_is_active_until_it_resolves():
    (opened,) = translate(alert("open"), {"warning"}, NOW + 90 * 86_400)
    assert opened["startsAt"].startswith("2026-02-25T")
    assert ends(opened) > NOW + 90 * 86_400


def test_alert_never_ends_before_it_starts():
    (ended,) = translate(alert("resolved"), {"warning"}, 1_772_038_990.0)
    assert ended["startsAt"] <= ended["endsAt"]


def test_annotations_hold_summary_evidence_and_decision():
    (opened,) = translate(alert("open"), {"warning"}, NOW)
    assert opened["annotations"] == {
        "summary": "Key k_1 sends 31 times its usual rate.",
        "score": "0.9",
        "decision": "throttle",
        "evidence": "requests=400, ratio=31.25",
        "members": "1",
    }


def test_alertname_contains_the_kind():
    assert translate(alert("open"), {"warning"}, NOW)[0]["labels"]["alertname"] == "ExtractionBurst"
