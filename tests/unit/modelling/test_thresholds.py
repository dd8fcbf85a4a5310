import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.modelling.thresholds import CAPS, SHARES, Tail, fit, needed, quantile

KEY_DAYS = 20_000
accepted = st.floats(1e-3, 1e3)
probabilities = st.lists(st.floats(1e-12, 1.0), max_size=60).map(np.array)


def draw(seed, liberal=1.0):
    """Key-days of which a share of p^(1 / liberal) has a probability of p or less."""
    return np.random.default_rng(seed).random(KEY_DAYS) ** liberal


@given(probabilities, accepted, accepted)
def test_who_accepts_more_false_alerts_has_no_lower_threshold(smallest, few, many):
    few, many = sorted((few, many))
    strict, loose = (fit(smallest, 100, keys=100, false_alerts=n) for n in (few, many))
    for one, other in zip(strict, loose, strict=True):
        assert one.probability <= other.probability


@given(probabilities, accepted, st.floats(1, 1e7))
def test_what_is_expected_is_no_more_than_what_is_accepted(smallest, false_alerts, keys):
    for each in fit(smallest, 100, keys=keys, false_alerts=false_alerts):
        assert each.at_most <= false_alerts * SHARES[each.severity] * (1 + 1e-6)


@given(probabilities, accepted, st.floats(1, 1e7))
def test_severities_are_in_order_and_settings_can_hold_them(smallest, false_alerts, keys):
    fitted = fit(smallest, 100, keys=keys, false_alerts=false_alerts)
    info, warning, critical = (each.probability for each in fitted)
    assert 0 < critical <= warning <= info < 1
    assert all(each.probability <= CAPS[each.severity] for each in fitted)


@given(probabilities, st.floats(1e-12, 1), st.floats(1e-12, 1))
def test_a_smaller_probability_is_no_more_common(smallest, one, other):
    tail, (low, high) = Tail(smallest, 100), sorted((one, other))
    assert tail.share(low) <= tail.share(high)


@pytest.mark.parametrize("liberal", [1.0, 2.0, 0.5], ids=["uniform", "too small", "too large"])
@pytest.mark.parametrize("false_alerts", [0.02, 0.1, 1.0, 5.0])
def test_of_new_traffic_no_more_is_accused_than_is_accepted(liberal, false_alerts):
    keys, trials = 2_000, 200
    kept = dict.fromkeys(SHARES, 0)
    for seed in range(trials):
        for each in fit(draw(seed, liberal), KEY_DAYS, keys=keys, false_alerts=false_alerts):
            expected = keys * each.probability ** (1 / liberal)
            kept[each.severity] += expected <= false_alerts * SHARES[each.severity]
    assert min(kept.values()) >= 0.85 * trials


def test_nor_is_it_far_less_where_the_recording_is_long():
    fits = [fit(draw(seed), KEY_DAYS, keys=2_000, false_alerts=1.0) for seed in range(50)]
    assert 0.5 < np.mean([2_000 * warning.probability for _, warning, _ in fits]) < 0.8


def test_more_keys_than_were_recorded_take_a_lower_threshold():
    few, many = (fit(draw(1), KEY_DAYS, keys=keys, false_alerts=1) for keys in (3e3, 3e6))
    assert all(f.probability > m.probability for f, m in zip(few, many, strict=True))


def test_a_key_at_the_threshold_is_counted():
    smallest = np.array([0.0001] * 3 + [0.5] * 97)
    (_, warning, _) = fit(smallest, 100, keys=100, false_alerts=30)
    assert (warning.probability, warning.seen) == (CAPS["warning"], 3)
    assert Tail(smallest, 100).share(0.0001) > Tail(smallest, 100).share(0.00009)


def test_keys_that_nothing_was_said_of_leave_the_caps():
    fitted = fit(np.empty(0), 1_000_000, keys=10, false_alerts=1)
    assert {each.severity: each.probability for each in fitted} == CAPS


def test_the_shorter_the_recording_the_more_is_needed():
    assert needed(keys=3_000, false_alerts=1) == pytest.approx(2.3 * 3_000, rel=0.02)


@pytest.mark.parametrize("certainty", [0.1, 0.9])
def test_quantiles_are_those_of_the_gamma_distribution(certainty):
    shapes = np.array([3.0, 10.0, 60.0])
    draws = np.random.default_rng(1).gamma(shapes, size=(400_000, 3))
    exact = np.quantile(draws, certainty, axis=0)
    assert quantile(shapes, certainty) == pytest.approx(exact, rel=0.02)
