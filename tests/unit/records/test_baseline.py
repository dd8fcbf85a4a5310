import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import ConfigError
from monitor.records.baseline import (
    VOTE_AGE,
    VOTE_REQUESTS,
    Baseline,
    Reference,
    read_reference,
    shipped_reference,
    write_reference,
)
from monitor.records.baseline_mean import Sums
from monitor.records.profile import BINS, COMBINED, EXCLUDED, LEVELS, PER_LEVEL, RECORD, TAKEOVER

ALL = slice(0, LEVELS)
levels = st.floats(0, 30)


def of(peaks):
    """A baseline whose keys reached these levels, in every statistic."""
    histogram = np.zeros((LEVELS, BINS))
    for peak in peaks:
        histogram[:, int(peak * PER_LEVEL)] += 1
    return Baseline(Reference(histogram, Sums.empty()))


def tail(baseline, level):
    return float(baseline.tail(ALL, np.full((1, LEVELS), float(level)))[0, 0])


def test_every_key_reaches_level_zero():
    assert tail(of([1, 2, 3]), 0) == 1.0


@given(low=levels, high=levels)
def test_higher_level_is_never_more_probable(low, high):
    baseline = Baseline(shipped_reference())
    low, high = sorted((low, high))
    assert tail(baseline, high) <= tail(baseline, low) * (1 + 1e-9)


@given(st.lists(levels, max_size=50), levels)
def test_tail_is_a_probability_above_zero(peaks, level):
    assert 0 < tail(of(peaks), level) <= 1


def test_tail_of_a_power_law_is_that_power_law():
    counts = np.random.default_rng(1).pareto(2.0, 200_000) + 1
    baseline = of(np.log2(1 + counts))
    assert tail(baseline, np.log2(1 + 200)) == pytest.approx(200**-2.0, rel=0.5)


def test_restore_returns_the_snapshot_state():
    baseline, again = Baseline(shipped_reference()), Baseline(shipped_reference())
    baseline.start_day(100)
    baseline.today[:, 5] += 1000
    baseline.start_day(101)
    baseline.today[:, 7] += 3
    again.restore(baseline.snapshot())
    assert again.snapshot() == baseline.snapshot()
    assert tail(again, 2.0) == tail(baseline, 2.0)


@pytest.mark.parametrize("levels", [10, 16, 20])
def test_state_of_an_earlier_version_is_restored(levels):
    old = np.zeros((2, levels, BINS), "<f4")
    old[0, :, 5], old[1, :, 7] = 1000.0, 3.0
    baseline = Baseline(Reference.empty())
    mean = baseline.mean.snapshot() if levels > 10 else b""
    header = np.array([100, levels if levels > 16 else 0], "<i4")
    baseline.restore(header.tobytes() + old.tobytes() + mean)
    assert (baseline.day, baseline.past.sum(), baseline.today.sum()) == (
        100,
        levels * 1000,
        LEVELS * 3,
    )
    assert tail(baseline, 1.0) > 0.9
    assert (baseline.today[levels:, 0] == 3).all()


def test_set_level_moves_the_key_in_the_histogram_of_the_day():
    baseline, records = Baseline(Reference.empty()), np.zeros(2, RECORD)
    baseline.start_day(100)
    records["day"] = 100
    records["requests"], records["last_seen"] = VOTE_REQUESTS, VOTE_AGE
    baseline.today[COMBINED, 0] = 2
    baseline.set_level(records, COMBINED, np.array([1, 0, 1]), np.array([3.0, 2.0, 1.0]))
    assert records["level"][:, COMBINED].tolist() == [2.0, 1.0]
    assert records["day_peak"][:, COMBINED].tolist() == [2 * PER_LEVEL, 3 * PER_LEVEL]
    assert np.flatnonzero(baseline.today[COMBINED]).tolist() == [2 * PER_LEVEL, 3 * PER_LEVEL]


def test_set_level_ignores_excluded_keys():
    baseline, records = Baseline(Reference.empty()), np.zeros(1, RECORD)
    baseline.start_day(100)
    records["day"], records["day_peak"] = 100, EXCLUDED
    baseline.set_level(records, COMBINED, np.array([0]), np.array([3.0]))
    assert not baseline.today.any()


def test_today_does_not_count_before_it_is_over():
    baseline = Baseline(shipped_reference())
    baseline.start_day(100)
    before = tail(baseline, 12.0)
    baseline.today[:, 12 * PER_LEVEL] += 1e6
    assert tail(baseline, 12.0) == before
    baseline.start_day(101)
    assert tail(baseline, 12.0) > 0.9


def test_excluded_key_leaves_the_histogram():
    baseline = Baseline(Reference.empty())
    baseline.start_day(100)
    records = np.zeros(1, RECORD)
    records["day"] = 100
    records["requests"], records["last_seen"] = VOTE_REQUESTS, VOTE_AGE
    baseline.today[:, 0] += 1
    baseline.exclude(records, 0)
    baseline.exclude(records, 0)
    assert not baseline.today.any()


def test_reference_survives_write_and_read():
    shipped = shipped_reference()
    again = read_reference(write_reference(shipped, source="a test"))
    assert (again.peaks == shipped.peaks).all()
    assert np.allclose(again.mean.vectors, shipped.mean.vectors)


def test_reference_with_fewer_levels_is_read_without_alerts():
    document = msgspec.json.decode(write_reference(shipped_reference()))
    document["key_days"] = document["key_days"][:20]
    baseline = Baseline(read_reference(msgspec.json.encode(document)))
    assert not baseline.reference[TAKEOVER].any()
    assert float(baseline.tail(slice(TAKEOVER, LEVELS), np.zeros((1, 1)))[0, 0]) == 1.0
    others = slice(0, TAKEOVER), np.full((1, TAKEOVER), 5.0)
    assert (baseline.tail(*others) == Baseline(shipped_reference()).tail(*others)).all()


def test_invalid_reference_is_refused_with_a_remedy():
    with pytest.raises(ConfigError, match="xm calibrate"):
        read_reference(b'{"key_days": [[1, 2]]}')
