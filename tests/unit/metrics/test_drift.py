from __future__ import annotations

import numpy as np
import pytest

from monitor.metrics.drift import MIN_KEY_DAYS, STATISTICS, Drift, of_voters
from monitor.prompts.lexicon import INTENTS
from monitor.prompts.projection import LISTS
from monitor.records import profile
from monitor.records.baseline import shipped_reference
from monitor.records.profile import BINS, LEVELS

HOURLY = STATISTICS.index("requests_1h")


@pytest.fixture(scope="module")
def reference():
    return shipped_reference().peaks


@pytest.fixture(scope="module")
def drift(reference):
    return Drift(reference)


def sample(reference, keys, shift=0, seed=1):
    """Keys drawn from those of the reference that count, hourly requests moved by some bins."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((LEVELS, BINS))
    for level, ordinary in enumerate(of_voters(reference)):
        counts[level] = rng.multinomial(keys, ordinary / ordinary.sum())
    counts[HOURLY] = np.roll(counts[HOURLY], shift)
    return counts


def test_statistics_are_named_in_the_order_of_levels():
    assert len(STATISTICS) == LEVELS
    names = {
        "breadth": profile.BREADTH,
        "automation": profile.AUTOMATION,
        "pivot": profile.PIVOT,
        "templates": profile.TEMPLATES,
        "combined": profile.COMBINED,
        "takeover": profile.TAKEOVER,
        "harvest": profile.HARVEST,
        "requests_1m": profile.REQUESTS.start,
        "tokens_24h": profile.TOKENS.stop - 1,
        **{f"elicitation_{name}": profile.ELICITATION.start + i for i, name in enumerate(INTENTS)},
        **{f"like_{name}": profile.LIKENESS[i] for i, name in enumerate(LISTS)},
    }
    assert {name: STATISTICS.index(name) for name in names} == names


@pytest.mark.parametrize("keys", [100, 1_000, 20_000])
def test_keys_of_the_reference_do_not_drift(drift, reference, keys):
    worst = [drift(sample(reference, keys, seed=seed)).max() for seed in range(5)]
    assert np.median(worst) < 0.1


def test_shifted_statistic_drifts_alone(drift, reference):
    index = drift(sample(reference, 1_000, shift=6))
    assert index[HOURLY] > 0.25
    assert np.delete(index, HOURLY).max() < 0.1


def test_keys_with_too_few_requests_are_no_drift():
    """A thousand keys of which three in ten have too few requests to count in the baseline."""
    few, many = np.full(300, 8), np.arange(700) % 40 + 14  # bins of their requests
    everyone, counted = np.zeros((LEVELS, BINS)), np.zeros((LEVELS, BINS))
    for counts, bins in ((everyone, np.append(few, many)), (counted, many)):
        counts[:] = np.bincount(bins, minlength=BINS)
    assert Drift(everyone)(counted).max() < 0.01


def test_few_keys_report_no_drift(drift, reference):
    assert not drift(sample(reference, int(MIN_KEY_DAYS) - 1, shift=20)).any()


def test_statistic_without_reference_reports_no_drift(reference):
    unknown = reference.copy()
    unknown[HOURLY] = 0.0
    assert Drift(unknown)(sample(reference, 1_000, shift=20))[HOURLY] == 0.0
