import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.detectors import JUDGES, Burst, Coverage, Elicitation
from monitor.detectors.burst import student_8
from monitor.prompts.lexicon import INTENTS
from monitor.prompts.projection import LISTS
from monitor.records.baseline import Baseline, shipped_reference
from monitor.records.profile import BROAD, KINDS, LEVELS, LIKENESS, RECORD, Profile


@pytest.fixture(scope="module")
def baseline():
    return Baseline(shipped_reference())


def key(requests_in_hour=0.0, *, own=None, own_hours=0):
    """A key with so many requests within the last hour, and hours of `own` requests before."""
    record = np.zeros(1, RECORD)
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


def test_a_key_far_beyond_the_public_bursts(baseline):
    assert Burst()(key(20_000), baseline).p[0] < 1e-4


@pytest.mark.parametrize("requests", [0, 1, 30, 200])
def test_ordinary_hours_are_no_burst(baseline, requests):
    assert Burst()(key(requests), baseline).p[0] > 0.01


def test_a_large_customers_usual_hour_is_no_burst(baseline):
    assert Burst()(key(20_000, own=18_000, own_hours=100), baseline).p[0] > 0.01


def test_a_large_customers_unusual_hour_is_one(baseline):
    assert Burst()(key(20_000, own=200, own_hours=100), baseline).p[0] < 1e-3


def test_a_past_of_a_few_hours_excuses_nothing(baseline):
    assert Burst()(key(20_000, own=18_000, own_hours=2), baseline).p[0] < 1e-4


def asks(prompts, **likeness):
    """A key with so many prompts, and its levels of likeness to lists, or of breadth."""
    record = np.zeros(1, RECORD)
    record["sketched"] = record["prompts"] = prompts
    for name, level in likeness.items():
        where = BROAD if name == "breadth" else LIKENESS.start + LISTS.index(name)
        record["level"][0, where] = level
    return Profile(record)


@pytest.mark.parametrize("what", ["code", "sweep"])
def test_prompts_off_a_work_list_are_coverage(baseline, what):
    assert Coverage()(asks(60, **{what: 8.0}), baseline).p[0] < 1e-4


def test_the_breadth_that_people_come_to_is_no_case(baseline):
    assert Coverage()(asks(60, breadth=4.0), baseline).p[0] > 1e-3


def test_the_breadth_of_whoever_sweeps_unattended_is_a_sign(baseline):
    assert Coverage()(asks(60, breadth=7.0), baseline).p[0] < 1e-2


@pytest.mark.parametrize("what", ["code", "reasoning", "sweep", "breadth"])
def test_a_little_likeness_is_not(baseline, what):
    assert Coverage()(asks(60, **{what: 0.5}), baseline).p[0] > 0.01


def test_coverage_says_nothing_of_a_few_prompts(baseline):
    assert Coverage()(asks(15, code=9.0), baseline).p[0] == 1.0


@pytest.mark.parametrize(("what", "said"), [("code", "write code"), ("breadth", "sweep more")])
def test_coverage_says_what_the_prompts_are_like(baseline, what, said):
    finding = Coverage()(asks(60, **{what: 8.0}), baseline)
    assert said in Coverage().summary({name: v[0] for name, v in finding.evidence.items()})


def test_likeness_to_lists_that_elicit_is_elicitation_without_a_phrase(baseline):
    finding = Elicitation()(asks(20, cot=13.0), baseline)
    assert finding.p[0] < 1e-4
    assert finding.evidence["by_likeness"][0] == 1


def test_a_run_of_matching_prompts_is_elicitation(baseline):
    assert Elicitation()(elicitor(12, 23.0), baseline).p[0] < 1e-4


def test_one_matching_prompt_is_not(baseline):
    assert Elicitation()(elicitor(8, 2.0), baseline).p[0] > 0.01


def test_the_same_evidence_says_less_the_more_prompts_it_took(baseline):
    few, many = elicitor(12, 12.0), elicitor(120_000, 12.0)
    assert Elicitation()(few, baseline).p[0] < Elicitation()(many, baseline).p[0]


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(0, 30), min_size=LEVELS, max_size=LEVELS), min_size=1))
def test_every_finding_is_a_probability_with_finite_evidence(levels):
    records = np.zeros(len(levels), RECORD)
    records["level"] = levels
    for detector in JUDGES:
        finding = detector(Profile(records), Baseline(shipped_reference()))
        assert ((finding.p > 0) & (finding.p <= 1)).all()
        for values in finding.evidence.values():
            assert np.isfinite(values).all()
            assert len(values) == len(levels)


@pytest.mark.parametrize("detector", JUDGES)
def test_keys_are_judged_together_as_they_are_alone(detector, baseline):
    records = np.concatenate([key(n).records for n in (3, 300, 30_000)])
    together = detector(Profile(records), baseline).p
    alone = [detector(Profile(records[i : i + 1]), baseline).p[0] for i in range(3)]
    assert together.tolist() == alone


def test_every_detector_has_a_place_in_the_record():
    assert {detector.name for detector in JUDGES} <= set(KINDS)


@pytest.mark.parametrize(
    ("profile", "said"),
    [(key(20_000), "20,000 requests in 1h"), (elicitor(12, 23.0), "100% of 12 prompts ask for")],
)
def test_the_summary_says_what_was_seen(baseline, profile, said):
    detector = Burst() if "requests" in said else Elicitation()
    evidence = {k: float(v[0]) for k, v in detector(profile, baseline).evidence.items()}
    assert detector.summary(evidence).startswith(said)


def test_the_intents_have_words_of_their_own(baseline):
    profile = elicitor(12, 23.0)
    finding = Elicitation()(profile, baseline)
    said = {
        Elicitation().summary({k: float(v[0]) for k, v in finding.evidence.items()} | {"intent": i})
        for i in range(len(INTENTS))
    }
    assert len(said) == len(INTENTS)


@pytest.mark.parametrize(
    ("t", "tail"), [(0.0, 0.5), (1.860, 0.05), (2.896, 0.01), (5.041, 0.0005), (-1.860, 0.95)]
)
def test_students_tail_agrees_with_the_tables(t, tail):
    assert student_8(np.array([t]))[0] == pytest.approx(tail, rel=2e-3)


def test_students_tail_has_no_seam_where_its_formula_changes():
    near, far = student_8(np.array([99.9, 100.1]))
    assert near == pytest.approx(far, rel=0.05)
