from io import StringIO

import msgspec
import numpy as np
import pytest
from rich.console import Console

from monitor.batch import Batch
from monitor.config import Settings
from monitor.detectors import ALL_DETECTORS
from monitor.engine import Engine
from monitor.errors import InputError
from monitor.identity import Identity
from monitor.records.profile import RECORD
from monitor.store.memory import MemoryStore
from pipelines.inspect.key import MIN_REQUESTS, Membership, ordinary_records
from pipelines.inspect.key_trace import KeyTrace
from pipelines.show.key import show
from tests.support.requests import START, elicitor, in_order, person

PERSONS = [f"sk-{i}" for i in range(MIN_REQUESTS + 5)]


def explained(key, *streams, settings=None):
    """The explanation of a key after a replay of some streams."""
    settings = settings or Settings()
    store, trace = MemoryStore(), KeyTrace(key)
    engine = Engine(settings, Identity(b"0123456789abcdef", plain=True), store, on_evaluation=trace)
    engine.assign("t:0")
    values = in_order(*streams)
    trace.record(engine.observe(Batch("t:0", range(len(values)), values)))
    return trace.explain(engine, store, settings)


@pytest.fixture(scope="module")
def explanation():
    persons = (person(key, count=30 + i, every=2_700 / (30 + i)) for i, key in enumerate(PERSONS))
    return explained("sk-cot", elicitor(), *persons)


def page(explanation, width):
    out = StringIO()
    show(explanation, Console(file=out, width=width))
    return out.getvalue()


def report(explanation, kind):
    return next(report for report in explanation.detectors if report.kind == kind)


def test_explanation_has_a_report_of_each_detector(explanation):
    assert [report.kind for report in explanation.detectors] == [
        each.name for each in ALL_DETECTORS
    ]


def test_replay_reports_most_improbable_evaluation(explanation):
    found = report(explanation, "elicitation")
    assert found.probability < 1e-7
    assert START < found.at <= explanation.activity.last_seen
    assert found.severity == "critical"


def test_alerts_are_in_order_of_time(explanation):
    assert [alert.subject.id for alert in explanation.alerts[:1]] == ["sk-cot"]
    times = [alert.detected_at for alert in explanation.alerts]
    assert times == sorted(times)


def test_explanation_has_no_expired_decision(explanation):
    assert (explanation.decision, explanation.shadow) == ("block", True)
    assert explanation.until > explanation.activity.last_seen
    assert explained("sk-cot", elicitor(), person("sk-1", 400)).decision == "observe"


def test_quantiles_of_ordinary_keys_rise(explanation):
    facts = [fact for report in explanation.detectors for fact in report.facts]
    for fact in facts + explanation.activity.facts:
        known = [value for value in fact.ordinary if value is not None]
        assert known == sorted(known)
        assert len(known) >= 3 or fact.name not in ("self-similarity", "deviation", "prompts")


def test_few_or_flagged_keys_give_no_quantiles(explanation):
    alone = explained("sk-cot", elicitor(), person("sk-1"))
    assert all(value is None for value in alone.activity.facts[0].ordinary)
    flagged = np.zeros(1, RECORD)
    flagged["requests"], flagged["severity"][0, 0] = 100, 2
    assert len(ordinary_records(flagged)) == 0


def test_requests_by_hour_end_with_last_hour(explanation):
    assert sum(explanation.activity.by_hour) == explanation.activity.requests
    assert explanation.activity.by_hour[-1]
    assert sum(explanation.activity.rhythm) == explanation.activity.requests


def test_page_of_three_requests_is_unremarkable(explanation):
    few = explained("sk-1", person("sk-1", 3))
    assert (few.activity.requests, few.decision, few.alerts) == (3, "observe", [])
    text = page(few, 80)
    assert "\nNothing unusual.\nDecision: observe (gateways let its requests pass)." in text


def test_missing_key_is_an_input_error():
    with pytest.raises(InputError, match=r"No request in these files is from sk-2\. Name .*\.$"):
        explained("sk-2", person("sk-1"))


@pytest.mark.parametrize("width", [80, 140])
def test_page_fits_terminal(explanation, width):
    lines = page(explanation, width).splitlines()
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)


def test_page_has_verdict_evidence_and_activity(explanation):
    text = " ".join(page(explanation, 80).split())
    for claim in (
        "sk-cot Critical: 100% of 24 prompts ask for the reasoning trace (elicitation, under 1 in",
        "Decision: block until 02 Mar 04:",
        "UTC, in this replay.",
        "elicitation critical since",
        "100% of 24 prompts ask for the reasoning trace.",
        "under 1 in a billion ordinary keys reaches this in a day",
        "It would be only a warning (above 1 in 10 million) with",
        "different prompts",
        "prompt similarity",
        "requests per hour",
    ):
        assert claim in text


@pytest.mark.parametrize(
    ("why", "claim"),
    [
        ("", "UTC, enforced."),
        ("shadow", "not enforced: shadow mode"),
        ("kill", "not enforced: kill switch"),
        ("allowed", "not enforced: allow-list"),
        ("capped", "throttle: hourly caps"),
        ("unknown", "unknown"),
    ],
)
def test_page_of_stored_key_reports_enforcement(explanation, why, claim):
    stored = msgspec.structs.replace(explanation, why=why, applies="throttle", replay=False)
    assert claim in " ".join(page(stored, 80).split())


def test_page_names_campaigns_of_key(explanation):
    campaign = Membership("c_75b8", "critical", START, members=30)
    text = page(msgspec.structs.replace(explanation, campaigns=[campaign]), 80)
    assert "Member of a critical campaign of 30 keys since" in text
    assert "`xm campaigns show c_75b8`" in " ".join(text.split())


def test_verdict_of_faded_evidence_gives_opening_time(explanation):
    faded = [msgspec.structs.replace(each, probability=0.01) for each in explanation.detectors]
    text = page(msgspec.structs.replace(explanation, detectors=faded), 80)
    assert "\nCritical since 02 Mar 00:" in text
    assert "Now 1 in 100" in text
