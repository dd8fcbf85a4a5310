import numpy as np
import pytest

from monitor.alerting.alerts import Lifecycle, Subject, alert_id
from monitor.alerting.policy import action_for, duration
from monitor.config import Decisions, Detection
from monitor.detectors.base import Finding
from monitor.records.profile import blank

KEY, EPOCH = Subject("api_key", "k_1"), 300.0


class Something:
    name, slot, levels, evidence = "burst", 0, (), {}

    def summary(self, evidence):
        return f"{evidence['seen']:.0f} seen"


@pytest.fixture
def lifecycle():
    return Lifecycle(Detection(), action_for)


@pytest.fixture
def record():
    return np.array([blank()])[0]


def evaluate(lifecycle, record, p, at=1_000.0, strongest="block"):
    finding = Finding(np.array([p]), np.array([at - 60]), lambda: {"seen": np.array([3.0])})
    return lifecycle.evaluate(record, KEY, at, Something(), finding, 0, strongest)


def test_probable_finding_opens_nothing(lifecycle, record):
    assert evaluate(lifecycle, record, 0.5) is None


def test_alert_opens_once(lifecycle, record):
    assert evaluate(lifecycle, record, 1e-5).state == "open"
    assert evaluate(lifecycle, record, 1e-5, at=1_010.0) is None


def test_more_severe_finding_updates_the_alert(lifecycle, record):
    opened = evaluate(lifecycle, record, 1e-5)
    update = evaluate(lifecycle, record, 1e-9, at=1_500.0)
    assert (update.state, update.severity, update.id) == ("update", "critical", opened.id)


def test_less_severe_finding_does_not_update(lifecycle, record):
    evaluate(lifecycle, record, 1e-9)
    assert evaluate(lifecycle, record, 1e-5, at=1_010.0) is None


def test_alert_has_summary_evidence_and_decision(lifecycle, record):
    alert = evaluate(lifecycle, record, 1e-5)
    assert alert.summary == "k_1: 3 seen."
    assert (alert.window, alert.evidence["seen"]) == ((940.0, 1_000.0), 3.0)
    assert alert.decision == "throttle"


def test_alert_is_limited_to_the_strongest_decision(lifecycle, record):
    alert = evaluate(lifecycle, record, 1e-9, strongest="throttle")
    assert (alert.severity, alert.decision) == ("critical", "throttle")


def test_alert_resolves_after_the_quiet_time(lifecycle, record):
    opened = evaluate(lifecycle, record, 1e-5)
    assert lifecycle.resolve(record, KEY, 1_000.0 + lifecycle.quiet - 1, EPOCH) == []
    (resolved,) = lifecycle.resolve(record, KEY, 1_000.0 + lifecycle.quiet, EPOCH)
    assert (resolved.state, resolved.id) == ("resolved", opened.id)
    assert resolved.summary == "k_1: burst resolved after 60 minutes without new evidence."
    assert lifecycle.resolve(record, KEY, 1e9, EPOCH) == []


def test_alert_resolves_at_the_end_of_its_epoch_if_noticed_later(lifecycle, record):
    evaluate(lifecycle, record, 1e-5)
    (resolved,) = lifecycle.resolve(record, KEY, 90_000.0, EPOCH)
    assert resolved.detected_at == 4_800.0
    assert resolved.summary == "k_1: burst resolved after 63 minutes without new evidence."


def test_weaker_finding_confirms_an_open_alert(lifecycle, record):
    evaluate(lifecycle, record, 1e-5)
    evaluate(lifecycle, record, 5e-3, at=2_000.0)
    assert lifecycle.resolve(record, KEY, 1_000.0 + lifecycle.quiet, EPOCH) == []


def test_alert_reopens_under_another_id(lifecycle, record):
    first = evaluate(lifecycle, record, 1e-5)
    lifecycle.resolve(record, KEY, 10_000.0, EPOCH)
    again = evaluate(lifecycle, record, 1e-5, at=20_000.0)
    assert again.state == "open"
    assert again.id != first.id


def test_ids_differ_by_subject_kind_and_window():
    ids = {
        alert_id(*of) for of in [(KEY.id, "burst", 0), ("k_2", "burst", 0), (KEY.id, "pivot", 0)]
    } | {
        alert_id(KEY.id, "burst", 300.0),
        alert_id(KEY.id, "burst", 299.0),
    }
    assert len(ids) == 4


@pytest.mark.parametrize("kind", ["burst", "elicitation", "coverage"])
def test_decision_never_weakens_with_severity(kind):
    seconds = [
        duration(action_for(kind, severity), Decisions())
        for severity in ("info", "warning", "critical")
    ]
    assert seconds == sorted(seconds)
    assert seconds[0] == 0
