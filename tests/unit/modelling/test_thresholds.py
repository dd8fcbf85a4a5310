import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.modelling.thresholds import (
    CAPS,
    SHARES,
    Tail,
    fit_thresholds,
    gamma_quantile,
    key_days_needed,
)

KEY_DAYS = 20_000
accepted = st.floats(1e-3, 1e3)
probabilities = st.lists(st.floats(1e-12, 1.0), max_size=60).map(np.array)


def draw(seed, power=1.0):
    """Scores of key-days; a share of p^(1 / power) is p or less."""
    return np.random.default_rng(seed).random(KEY_DAYS) ** power


@given(probabilities, accepted, accepted)
def test_threshold_rises_with_accepted_false_alerts(smallest, few, many):
    few, many = sorted((few, many))
    strict, loose = (fit_thresholds(smallest, 100, keys=100, false_alerts=n) for n in (few, many))
    for one, other in zip(strict, loose, strict=True):
        assert one.probability <= other.probability


@given(probabilities, accepted, st.floats(1, 1e7))
def test_expected_alerts_do_not_exceed_accepted(smallest, false_alerts, keys):
    for each in fit_thresholds(smallest, 100, keys=keys, false_alerts=false_alerts):
        assert each.max_per_day <= false_alerts * SHARES[each.severity] * (1 + 1e-6)


@given(probabilities, accepted, st.floats(1, 1e7))
def test_thresholds_are_ordered_and_capped(smallest, false_alerts, keys):
    fitted = fit_thresholds(smallest, 100, keys=keys, false_alerts=false_alerts)
    info, warning, critical = (each.probability for each in fitted)
    assert 0 < critical <= warning <= info < 1
    assert all(each.probability <= CAPS[each.severity] for each in fitted)


@given(probabilities, st.floats(1e-12, 1), st.floats(1e-12, 1))
def test_tail_share_is_monotone(smallest, one, other):
    tail, (low, high) = Tail(smallest, 100), sorted((one, other))
    assert tail.share(low) <= tail.share(high)


@pytest.mark.parametrize("power", [1.0, 2.0, 0.5], ids=["uniform", "too small", "too large"])
@pytest.mark.parametrize("false_alerts", [0.02, 0.1, 1.0, 5.0])
def test_new_traffic_stays_within_accepted_alerts(power, false_alerts):
    keys, trials = 2_000, 200
    within = dict.fromkeys(SHARES, 0)
    for seed in range(trials):
        for each in fit_thresholds(
            draw(seed, power), KEY_DAYS, keys=keys, false_alerts=false_alerts
        ):
            expected = keys * each.probability ** (1 / power)
            within[each.severity] += expected <= false_alerts * SHARES[each.severity]
    assert min(within.values()) >= 0.85 * trials


def test_long_recording_uses_most_of_the_accepted_alerts():
    fits = [
        fit_thresholds(draw(seed), KEY_DAYS, keys=2_000, false_alerts=1.0) for seed in range(50)
    ]
    assert 0.5 < np.mean([2_000 * warning.probability for _, warning, _ in fits]) < 0.8


def test_threshold_falls_with_more_keys():
    few, many = (
        fit_thresholds(draw(1), KEY_DAYS, keys=keys, false_alerts=1) for keys in (3e3, 3e6)
    )
    assert all(f.probability > m.probability for f, m in zip(few, many, strict=True))


def test_threshold_counts_keys_equal_to_it():
    smallest = np.array([0.0001] * 3 + [0.5] * 97)
    (_, warning, _) = fit_thresholds(smallest, 100, keys=100, false_alerts=30)
    assert (warning.probability, warning.seen) == (CAPS["warning"], 3)
    assert Tail(smallest, 100).share(0.0001) > Tail(smallest, 100).share(0.00009)


def test_thresholds_without_scores_are_the_caps():
    fitted = fit_thresholds(np.empty(0), 1_000_000, keys=10, false_alerts=1)
    assert {each.severity: each.probability for each in fitted} == CAPS


def test_key_days_needed_grow_with_keys():
    assert key_days_needed(keys=3_000, false_alerts=1) == pytest.approx(2.3 * 3_000, rel=0.02)


@pytest.mark.parametrize("confidence", [0.1, 0.9])
def test_gamma_quantile_matches_sampled_quantiles(confidence):
    shapes = np.array([3.0, 10.0, 60.0])
    draws = np.random.default_rng(1).gamma(shapes, size=(400_000, 3))
    exact = np.quantile(draws, confidence, axis=0)
    assert gamma_quantile(shapes, confidence) == pytest.approx(exact, rel=0.02)
