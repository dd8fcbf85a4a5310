import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import ConfigError
from monitor.records.baseline import (
    BINS,
    PER_LEVEL,
    Baseline,
    Reference,
    read_reference,
    shipped_reference,
    write_reference,
)
from monitor.records.baseline_mean import Sums
from monitor.records.profile import COMBINED, LEVELS, RECORD

ALL = slice(0, LEVELS)
levels = st.floats(0, 30)


def of(peaks):
    """A public whose keys reached these levels, in every statistic."""
    histogram = np.zeros((LEVELS, BINS))
    for peak in peaks:
        histogram[:, int(peak * PER_LEVEL)] += 1
    return Baseline(Reference(histogram, Sums.none()))


def tail(baseline, level):
    return float(baseline.tail(ALL, np.full((1, LEVELS), float(level)))[0, 0])


def test_every_key_reaches_nothing():
    assert tail(of([1, 2, 3]), 0) == 1.0


@given(low=levels, high=levels)
def test_a_higher_level_is_never_more_probable(low, high):
    baseline = Baseline(shipped_reference())
    low, high = sorted((low, high))
    assert tail(baseline, high) <= tail(baseline, low) * (1 + 1e-9)


@given(st.lists(levels, max_size=50), levels)
def test_nothing_is_impossible_and_nothing_more_than_certain(peaks, level):
    assert 0 < tail(of(peaks), level) <= 1


def test_the_tail_of_a_power_law_is_that_power_law():
    counts = np.random.default_rng(1).pareto(2.0, 200_000) + 1
    baseline = of(np.log2(1 + counts))
    assert tail(baseline, np.log2(1 + 200)) == pytest.approx(200**-2.0, rel=0.5)


def test_what_is_restored_judges_like_what_was_dumped():
    baseline, again = Baseline(shipped_reference()), Baseline(shipped_reference())
    baseline.turn(100)
    baseline.today[:, 5] += 1000
    baseline.turn(101)
    baseline.today[:, 7] += 3
    again.restore(baseline.dump())
    assert again.dump() == baseline.dump()
    assert tail(again, 2.0) == tail(baseline, 2.0)


@pytest.mark.parametrize("levels", [10, 16])
def test_what_earlier_versions_learned_is_kept(levels):
    old = np.zeros((2, levels, BINS), "<f4")
    old[0, :, 5], old[1, :, 7] = 1000.0, 3.0
    baseline = Baseline(Reference.none())
    mean = baseline.mean.dump() if levels > 10 else b""
    baseline.restore(np.array([100], "<i8").tobytes() + old.tobytes() + mean)
    assert (baseline.day, baseline.past.sum(), baseline.today.sum()) == (
        100,
        levels * 1000,
        levels * 3,
    )
    assert tail(baseline, 1.0) > 0.9


def test_a_level_that_is_reached_moves_the_key_among_the_public_of_the_day():
    baseline, records = Baseline(Reference.none()), np.zeros(2, RECORD)
    baseline.turn(100)
    records["day"] = 100
    baseline.today[COMBINED, 0] = 2
    baseline.reach(records, COMBINED, np.array([1, 0, 1]), np.array([3.0, 2.0, 1.0]))
    assert records["level"][:, COMBINED].tolist() == [2.0, 1.0]
    assert records["day_peak"][:, COMBINED].tolist() == [2.0, 3.0]
    assert np.flatnonzero(baseline.today[COMBINED]).tolist() == [2 * PER_LEVEL, 3 * PER_LEVEL]


def test_a_level_that_an_accused_key_reaches_teaches_nothing():
    baseline, records = Baseline(Reference.none()), np.zeros(1, RECORD)
    baseline.turn(100)
    records["day"], records["day_peak"] = 100, np.inf
    baseline.reach(records, COMBINED, np.array([0]), np.array([3.0]))
    assert not baseline.today.any()


def test_today_does_not_count_before_it_is_over():
    baseline = Baseline(shipped_reference())
    baseline.turn(100)
    before = tail(baseline, 12.0)
    baseline.today[:, 12 * PER_LEVEL] += 1e6
    assert tail(baseline, 12.0) == before
    baseline.turn(101)
    assert tail(baseline, 12.0) > 0.9


def test_an_accused_key_does_not_teach_what_is_ordinary():
    baseline = Baseline(Reference.none())
    baseline.turn(100)
    record = np.zeros((), RECORD)
    record["day"] = 100
    baseline.today[:, 0] += 1
    baseline.withdraw(record)
    baseline.withdraw(record)
    assert not baseline.today.any()


def test_a_reference_is_read_as_it_was_written():
    shipped = shipped_reference()
    again = read_reference(write_reference(shipped, source="a test"))
    assert (again.peaks == shipped.peaks).all()
    assert np.allclose(again.mean.vectors, shipped.mean.vectors)


def test_a_file_that_is_no_reference_is_refused_with_a_remedy():
    with pytest.raises(ConfigError, match="xm calibrate"):
        read_reference(b'{"key_days": [[1, 2]]}')
