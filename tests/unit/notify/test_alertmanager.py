from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from monitor.alerting.alerts import Alert, Severity, State, Subject
from monitor.detectors import ALERT_KINDS, ALL_DETECTORS
from pipelines.notify import text
from pipelines.notify.incidents.links import NONE, Links, page_of
from pipelines.notify.incidents.notice import Notice
from pipelines.notify.incidents.words import evidence
from pipelines.notify.receivers.alertmanager import Alertmanager
from pipelines.notify.receivers.base import Endpoint
from tests.support import receivers

NOW = receivers.NOW + 10_000
ROOT = Path(__file__).parents[3]


def alert(state: State, severity: Severity = "warning", score: float = 0.9) -> Alert:
    return msgspec.structs.replace(receivers.alert("1", state, severity), score=score)


def translate(notice: Notice, now: float = NOW, links: Links = NONE) -> list[dict[str, Any]]:
    receiver = Alertmanager(Endpoint("http://127.0.0.1:9093", 1), links=links)
    return receiver._translate(notice, now)


def ends(posted: dict[str, Any]) -> float:
    return datetime.fromisoformat(posted["endsAt"]).timestamp()


def test_labels_stay_while_the_incident_lasts():
    (opened,) = translate(Notice(alert("open")))
    (updated,) = translate(Notice(alert("update", score=0.99), "warning"), NOW + 60)
    assert updated["labels"] == opened["labels"]
    assert opened["labels"] == {
        "alertname": "ExtractionKey",
        "service": "extraction-monitor",
        "severity": "warning",
        "subject": "k_1",
        "subject_type": "api_key",
        "incident": "k_1",
        "role": "incident",
    }


def test_escalated_alert_ends_under_its_former_severity():
    warning, critical = translate(Notice(alert("update", "critical"), "warning"))
    assert (critical["labels"]["severity"], ends(critical) > NOW) == ("critical", True)
    assert (warning["labels"]["severity"], ends(warning) <= NOW) == ("warning", True)


def test_resolved_alert_ends_under_the_severity_that_alertmanager_has():
    (ended,) = translate(Notice(alert("resolved", "critical"), "warning"))
    assert (ended["labels"]["severity"], ends(ended) <= NOW) == ("warning", True)


def test_member_moves_to_the_incident_of_its_campaign():
    left, joined = translate(Notice(alert("update"), "warning", incident="c_1", before="k_1"))
    assert (left["labels"]["role"], ends(left) <= NOW) == ("incident", True)
    assert {"role": "member", "incident": "c_1"}.items() <= joined["labels"].items()
    assert NOW < ends(joined) < NOW + 600
    assert joined["annotations"]["part_of"] == "c_1"


def test_start_is_the_time_at_which_the_severity_was_reached():
    (opened,) = translate(Notice(alert("open"), begun=NOW - 60))
    assert opened["startsAt"] == text.rfc3339(NOW - 60)


def test_alert_never_ends_before_it_starts():
    (ended,) = translate(Notice(alert("resolved"), begun=NOW + 10))
    assert ended["startsAt"] <= ended["endsAt"]


def test_annotations_say_what_was_seen_and_what_to_do():
    links = Links(
        "https://docs.example/xm/",
        dashboards="https://grafana.example",
        console="https://console.example/",
    )
    found = msgspec.structs.replace(
        alert("open"), evidence={"probability": 1e-6, "requests_1h": 400.0, "of_tokens": 1.0}
    )
    (opened,) = translate(Notice(found, kinds=("burst", "coverage")), links=links)
    assert opened["annotations"] == {
        "rarity": "1 in 1,000,000 ordinary keys per day",
        "requests_1h": "400",
        "summary": "Key k_1 sends 31 times its usual rate.",
        "description": (
            "See why: xm explain k_1. "
            "Stop it: xm decisions add k_1 --action block --for 4h --why …. "
            "If it is no attack: xm alerts withdraw a_1 --why …"
        ),
        "kinds": "burst, coverage",
        "decision": "throttle",
        "alert_id": "a_1",
        "since": "2026-02-25 17:03 UTC",
        "detected": "2026-02-25 17:20 UTC",
        "runbook_url": "https://docs.example/xm/deploy/docs/respond.md",
        "dashboard_url": "https://grafana.example/d/xm-investigation?var-subject=k_1",
        "console_url": "https://console.example/keys/k_1",
    }


@pytest.mark.parametrize("kind", [*ALERT_KINDS, "campaign"])
@pytest.mark.parametrize("type", ["api_key", "account", "end_user", "campaign"])
def test_pages_of_alerts_exist(kind: str, type: Any):
    about = msgspec.structs.replace(alert("open"), kind=kind, subject=Subject(type, "s"))
    file, _, anchor = page_of(about).partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / file).read_text(), re.MULTILINE)
    assert not anchor or anchor in {slug(heading) for heading in headings}


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("kind", ALERT_KINDS)
def test_evidence_is_a_few_facts_in_words(kind: str):
    declared = next(each for each in ALL_DETECTORS if each.name == kind).evidence
    seen = {"probability": 1e-5} | dict.fromkeys(declared, 4.0)
    facts = evidence(msgspec.structs.replace(alert("open"), kind=kind, evidence=seen))
    assert 1 < len(facts) <= 5
    (posted,) = translate(Notice(msgspec.structs.replace(alert("open"), kind=kind, evidence=seen)))
    assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) for name in posted["annotations"])
    assert not any("_" in name or "nats" in name for name in facts if not name[-1].isdigit())
