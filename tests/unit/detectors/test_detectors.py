import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.detectors import (
    ALERT_KINDS,
    ALL_DETECTORS,
    Automation,
    Burst,
    Coverage,
    Elicitation,
    Pivot,
    Templates,
)
from monitor.detectors.burst import student_8
from monitor.prompts.lexicon import INTENTS
from monitor.prompts.projection import LISTS
from monitor.records.baseline import Baseline, shipped_reference
from monitor.records.profile import ALERT_SLOTS, BREADTH, DAY, LEVELS, LIKENESS, RECORD, Profile


@pytest.fixture(scope="module")
def baseline():
    return Baseline(shipped_reference())


def key(requests_in_hour=0.0, *, own=None, own_hours=0, days=30):
    """A key with requests in the last hour, after `own_hours` hours of `own` requests each."""
    record = np.zeros(1, RECORD)
    record["last_seen"] = days * DAY
    record["level"][0, 2:4] = math.log2(1 + requests_in_hour)
    if own is not None:
        record["own_hours"] = own_hours
        record["own_mean"][0, :4] = math.log2(1 + own)
        record["own_variance"][0, :4] = 0.05
    return Profile(record)


def elicitor(prompts, nats):
    record = np.zeros(1, RECORD)
    record["prompts"] = prompts
    record["matches"][0, 0] = prompts
    record["level"][0, 8] = nats / 2
    return Profile(record)


def test_burst_of_a_new_key_is_only_a_sign(baseline):
    assert Burst()(key(200_000), baseline).p[0] == Burst().new_floor


def test_burst_tolerates_a_large_application_on_its_first_day(baseline):
    assert Burst()(key(2_000), baseline).p[0] > 2 * Burst().new_floor


@pytest.mark.parametrize("requests", [0, 1, 30, 200])
def test_burst_ignores_ordinary_hours(baseline, requests):
    assert Burst()(key(requests), baseline).p[0] > 0.01


def test_burst_ignores_a_large_customers_usual_hour(baseline):
    assert Burst()(key(20_000, own=18_000, own_hours=100), baseline).p[0] > 0.01


def test_burst_flags_a_large_customers_unusual_hour(baseline):
    assert Burst()(key(20_000, own=200, own_hours=100), baseline).p[0] < 1e-3


@pytest.mark.parametrize("past", [{"own_hours": 20}, {"own_hours": 60, "days": 2.5}])
def test_burst_needs_a_long_past_to_accuse(baseline, past):
    assert Burst()(key(20_000, own=20, **past), baseline).p[0] >= Burst().new_floor


def asks(prompts, **likeness):
    """A key with prompts, and its levels of similarity to lists or of breadth."""
    record = np.zeros(1, RECORD)
    record["sketch_prompts"] = record["prompts"] = prompts
    for name, level in likeness.items():
        where = BREADTH if name == "breadth" else LIKENESS[LISTS.index(name)]
        record["level"][0, where] = level
    return Profile(record)


@pytest.mark.parametrize("what", ["code", "sweep"])
def test_coverage_flags_prompts_from_a_list(baseline, what):
    assert Coverage()(asks(60, **{what: 8.0}), baseline).p[0] < 1e-4


def test_coverage_tolerates_the_breadth_of_people(baseline):
    assert Coverage()(asks(60, breadth=4.0), baseline).p[0] > 1e-3


def test_coverage_flags_unattended_breadth(baseline):
    assert Coverage()(asks(60, breadth=7.0), baseline).p[0] < 1e-2


@pytest.mark.parametrize("what", ["code", "reasoning", "sweep", "breadth"])
def test_coverage_ignores_slight_similarity(baseline, what):
    assert Coverage()(asks(60, **{what: 0.5}), baseline).p[0] > 0.01


def test_coverage_needs_enough_prompts(baseline):
    assert Coverage()(asks(15, code=9.0), baseline).p[0] == 1.0


@pytest.mark.parametrize(
    ("what", "text"), [("code", "code-generation"), ("breadth", "data set sweep")]
)
def test_coverage_summary_names_the_list(baseline, what, text):
    finding = Coverage()(asks(60, **{what: 8.0}), baseline)
    assert text in Coverage().summary({name: v[0] for name, v in finding.evidence.items()})


def test_elicitation_flags_similarity_without_a_phrase(baseline):
    finding = Elicitation()(asks(20, cot=13.0), baseline)
    assert finding.p[0] < 1e-4
    assert finding.evidence["by_likeness"][0] == 1


def test_elicitation_flags_many_matching_prompts(baseline):
    assert Elicitation()(elicitor(12, 23.0), baseline).p[0] < 1e-4


def test_elicitation_ignores_one_matching_prompt(baseline):
    assert Elicitation()(elicitor(8, 2.0), baseline).p[0] > 0.01


def test_elicitation_weakens_with_the_number_of_prompts(baseline):
    few, many = elicitor(12, 12.0), elicitor(120_000, 12.0)
    assert Elicitation()(few, baseline).p[0] < Elicitation()(many, baseline).p[0]


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(0, 30), min_size=LEVELS, max_size=LEVELS), min_size=1))
def test_findings_are_probabilities_with_finite_evidence(levels):
    records = np.zeros(len(levels), RECORD)
    records["level"] = levels
    for detector in ALL_DETECTORS:
        finding = detector(Profile(records), Baseline(shipped_reference()))
        assert ((finding.p > 0) & (finding.p <= 1)).all()
        for values in finding.evidence.values():
            assert np.isfinite(values).all()
            assert len(values) == len(levels)


@pytest.mark.parametrize("detector", ALL_DETECTORS)
def test_keys_are_evaluated_together_as_alone(detector, baseline):
    records = np.concatenate([key(n).records for n in (3, 300, 30_000)])
    together = detector(Profile(records), baseline).p
    alone = [detector(Profile(records[i : i + 1]), baseline).p[0] for i in range(3)]
    assert together.tolist() == alone


def test_detectors_have_slots_of_their_own_without_a_gap():
    assert sorted(each.slot for each in ALL_DETECTORS) == list(range(len(ALL_DETECTORS)))
    assert len(ALL_DETECTORS) <= ALERT_SLOTS


def test_each_level_is_read_by_one_detector():
    levels = [level for each in ALL_DETECTORS for level in each.levels]
    assert sorted(levels) == list(range(LEVELS))


def test_slots_are_those_of_stored_records():
    assert ALERT_KINDS == (
        "burst",
        "elicitation",
        "coverage",
        "automation",
        "pivot",
        "templates",
        "combined",
        "takeover",
        "harvest",
    )


@pytest.mark.parametrize("detector", ALL_DETECTORS)
def test_evidence_is_as_declared(detector, baseline):
    finding = detector(key(300), baseline)
    assert set(finding.evidence) == set(detector.evidence)


@pytest.mark.parametrize("detector", ALL_DETECTORS)
def test_blank_key_is_ordinary(detector, baseline):
    blank = Profile(np.zeros(1, RECORD))
    finding = detector(blank, baseline)
    assert finding.p[0] == 1.0
    assert detector.summary({name: float(v[0]) for name, v in finding.evidence.items()})


@pytest.mark.parametrize(
    ("profile", "text"),
    [
        (key(20_000), "20,000 requests in 1 hour; "),
        (elicitor(12, 23.0), "100% of 12 prompts ask for"),
    ],
)
def test_summary_states_what_was_seen(baseline, profile, text):
    detector = Burst() if "requests" in text else Elicitation()
    evidence = {k: float(v[0]) for k, v in detector(profile, baseline).evidence.items()}
    assert detector.summary(evidence).startswith(text)


def test_each_intent_has_its_own_summary(baseline):
    profile = elicitor(12, 23.0)
    finding = Elicitation()(profile, baseline)
    summaries = {
        Elicitation().summary({k: float(v[0]) for k, v in finding.evidence.items()} | {"intent": i})
        for i in range(len(INTENTS))
    }
    assert len(summaries) == len(INTENTS)


@pytest.mark.parametrize(
    ("t", "tail"), [(0.0, 0.5), (1.860, 0.05), (2.896, 0.01), (5.041, 0.0005), (-1.860, 0.95)]
)
def test_student_tail_agrees_with_the_tables(t, tail):
    assert student_8(np.array([t]))[0] == pytest.approx(tail, rel=2e-3)


def test_student_tail_is_continuous():
    near, far = student_8(np.array([99.9, 100.1]))
    assert near == pytest.approx(far, rel=0.05)


@pytest.mark.parametrize(
    ("detector", "evidence", "text"),
    [
        (
            Burst(),
            {"in_window": 1, "of_tokens": 0, "window_seconds": 60, "ordinary_share": 1.0},
            "nothing unusual: 1 request in 1 minute",
        ),
        (
            Burst(),
            {"in_window": 9e6, "of_tokens": 1, "window_seconds": 86_400, "ordinary_share": 1e-9},
            "9,000,000 tokens in 24 hours; "
            "fewer than 1 in 100,000 ordinary keys reach this in a day",
        ),
        (
            Burst(),
            {"in_window": 912, "of_tokens": 0, "window_seconds": 3600, "ordinary_share": 1 / 3_000},
            "912 requests in 1 hour; 1 in 3,000 ordinary keys reaches this in a day",
        ),
        (
            Pivot(),
            {
                "requests_since": 40,
                "hours_since": 0.2,
                "moved_share": 0.8,
                "an_hour_since": 40,
                "an_hour_before": 1,
            },
            "40 requests to a newly adopted model within 1 hour, 80% of all requests; "
            "40 an hour, 1 before",
        ),
        (Pivot(), {"requests_since": 0}, "no move to a new model"),
        (
            Templates(),
            {"different_prompts": 44.3, "different_templates": 1},
            "about 44 different prompts from 1 template for unrelated tasks",
        ),
        (
            Automation(),
            {
                "requests": 24,
                "regular_nats": 9,
                "unattended_nats": 1,
                "even_hours": 0,
                "gap_seconds": 6,
            },
            "24 requests, one every 6.0 seconds as from a timer",
        ),
        (
            Automation(),
            {"requests": 900, "regular_nats": 0, "unattended_nats": 1, "even_hours": 20},
            "900 requests at a constant rate for 20 hours",
        ),
        (
            Automation(),
            {
                "requests": 64,
                "regular_nats": 0,
                "unattended_nats": 9,
                "even_hours": 0,
                "follow_ups": 0.02,
            },
            "64 requests, of which 2% are follow-up turns",
        ),
        (
            Automation(),
            {
                "requests": 64,
                "regular_nats": 0,
                "unattended_nats": 9,
                "even_hours": 0,
                "follow_ups": 0.001,
            },
            "64 requests without follow-up turns",
        ),
    ],
)
def test_summaries_are_plain_sentences(detector, evidence, text):
    assert detector.summary(evidence) == text
