from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from monitor.alerting.alerts import Alert, Severity, State
from pipelines.notify.receivers.alertmanager import Alertmanager
from pipelines.notify.receivers.base import Endpoint, Notice
from tests.support import receivers

NOW = receivers.NOW + 10_000


def alert(state: State, severity: Severity = "warning", score: float = 0.9) -> Alert:
    return msgspec.structs.replace(receivers.alert("1", state, severity), score=score)


def translate(
    alert: Alert, active: Severity | None = None, now: float = NOW, runbook: str | None = None
) -> list[dict[str, Any]]:
    receiver = Alertmanager(Endpoint("http://127.0.0.1:9093", 1), runbook_url=runbook)
    return receiver._translate(Notice(alert, active), now)


def ends(posted: dict[str, Any]) -> float:
    return datetime.fromisoformat(posted["endsAt"]).timestamp()


def test_labels_never_change_during_an_alert():
    (opened,) = translate(alert("open"))
    (updated,) = translate(alert("update", score=0.99), "warning", NOW + 60)
    assert updated["labels"] == opened["labels"]
    assert updated["annotations"] != opened["annotations"]


def test_escalated_alert_ends_under_its_former_severity():
    warning, critical = translate(alert("update", "critical"), "warning")
    assert (critical["labels"]["severity"], ends(critical) > NOW) == ("critical", True)
    assert (warning["labels"]["severity"], ends(warning) <= NOW) == ("warning", True)


def test_resolved_alert_ends_under_the_severity_that_alertmanager_has():
    (ended,) = translate(alert("resolved", "critical"), "warning")
    assert (ended["labels"]["severity"], ends(ended) <= NOW) == ("warning", True)


def test_old_alert_is_active_until_it_resolves():
    (opened,) = translate(alert("open"), now=NOW + 90 * 86_400)
    assert opened["startsAt"].startswith("2026-02-25T")
    assert ends(opened) > NOW + 90 * 86_400


def test_alert_never_ends_before_it_starts():
    (ended,) = translate(alert("resolved"), now=receivers.NOW - 1010)
    assert ended["startsAt"] <= ended["endsAt"]


def test_annotations_hold_summary_next_step_evidence_and_decision():
    (opened,) = translate(alert("open"), runbook="https://wiki.example/respond")
    assert opened["annotations"] == {
        "summary": "Key k_1 sends 31 times its usual rate.",
        "description": "Why: xm explain k_1. If it is no attack: xm alerts withdraw a_1 --why …",
        "score": "0.9",
        "decision": "throttle",
        "evidence": "requests=400, ratio=31.25",
        "members": "1",
        "runbook_url": "https://wiki.example/respond",
    }


def test_alertname_contains_the_kind():
    assert translate(alert("open"))[0]["labels"]["alertname"] == "ExtractionBurst"
