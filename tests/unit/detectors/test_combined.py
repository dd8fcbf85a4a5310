import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.detectors import Combined, Finding
from monitor.detectors.combined import truncated_product
from monitor.records.baseline import Baseline, Reference
from monitor.records.baseline_mean import Sums
from monitor.records.profile import BINS, COMBINED, LEVELS, PER_LEVEL, RECORD, Profile


class Fixed:
    """A detector with a fixed result."""

    slot, levels, evidence = 0, (), {}

    def __init__(self, name, *p):
        self.name, self.p = name, np.array(p)

    def __call__(self, keys, baseline):
        return Finding(self.p, np.zeros(len(keys)))

    def summary(self, evidence):
        return self.name


def baseline(peaks):
    """A baseline whose keys reached these levels with all signs."""
    histogram = np.zeros((LEVELS, BINS))
    np.add.at(histogram[COMBINED], (np.array(peaks) * PER_LEVEL).astype(int), 1)
    return Baseline(Reference(histogram, Sums.empty()))


QUIET = baseline(np.random.default_rng(1).exponential(0.5, 20_000))


def together(*p, of=QUIET):
    parts = [
        Fixed(kind, each) for kind, each in zip(("burst", "coverage", "pivot"), p, strict=True)
    ]
    return Combined(parts)(Profile(np.zeros(1, RECORD)), of)


def test_weak_signs_combine_to_strong_evidence():
    assert together(2e-3, 2e-3, 2e-3).p[0] < 1e-4


def test_one_sign_is_left_to_its_detector():
    assert together(1e-9, 0.5, 0.5).p[0] == 1.0


def test_common_findings_add_nothing():
    assert together(1e-3, 1e-3, 0.3).p[0] == together(1e-3, 1e-3, 1.0).p[0]


def test_automation_counts_only_beyond_harvest():
    parts = Fixed("automation", 1e-3), Fixed("harvest", 1e-2), Fixed("burst", 1e-2)
    evidence = Combined(parts)(Profile(np.zeros(1, RECORD)), QUIET).evidence
    assert evidence["automation_nats"][0] == pytest.approx(np.log(10))
    assert evidence["harvest_nats"][0] == pytest.approx(np.log(10))


def test_signs_common_in_the_baseline_are_weak_evidence():
    common = baseline([0.0] * 9_000 + [9.0] * 1_000)
    assert together(2e-3, 2e-3, 2e-3, of=common).p[0] > 0.05


def test_small_baseline_is_bounded_by_independence():
    sure = baseline([0.0] * 1_000_000)
    assert together(0.09, 0.09, 0.09, of=sure).p[0] > 0.01


def test_summary_names_the_strongest_sign_first():
    finding = together(1e-2, 1e-4, 1.0)
    evidence = {name: float(values[0]) for name, values in finding.evidence.items()}
    assert Combined([]).summary(evidence) == "2 signals: coverage, burst"


@pytest.mark.parametrize("nats", [1.0, 4.0, 8.0])
def test_truncated_product_matches_independent_tests(nats):
    p = np.random.default_rng(2).random((1_000_000, 6))
    reached = np.log(0.1 / p).clip(0.0).sum(axis=1) >= nats
    assert truncated_product(np.array([nats]), 6, 0.1)[0] == pytest.approx(reached.mean(), rel=0.1)


@given(st.lists(st.floats(0, 500), min_size=2, max_size=20))
def test_truncated_product_is_a_decreasing_tail(nats):
    p = truncated_product(np.array(sorted(nats)), 6, 0.1)
    assert ((p >= 0) & (p <= 1 + 1e-9)).all()
    assert (np.diff(p) <= 1e-12).all()
