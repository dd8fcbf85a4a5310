import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.sketches.habits import (
    HOURS,
    MODELS,
    merged_models,
    merged_rhythm,
    note_hour,
    note_model,
    shares,
)

counts = st.dictionaries(st.integers(1, 9), st.integers(0, 100), max_size=4)


def models(requests):
    names, seen = np.zeros(MODELS, np.uint32), np.zeros(MODELS, np.float32)
    for model in requests:
        note_model(names, seen, model)
    return shares(names, seen)


def rhythm(hours):
    histogram = np.zeros(HOURS, np.uint8)
    for hour in hours:
        note_hour(histogram, hour)
    return histogram


def test_a_model_that_was_moved_to_soon_has_the_largest_share():
    found = models([1] * 1000 + [2] * 70)
    assert max(found, key=found.get) == 2


def test_a_model_that_is_not_known_is_not_counted():
    assert models([0, 0]) == {}


@settings(deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=200))
def test_no_count_of_a_listed_model_is_too_low(requests):
    found = models(requests)
    fade = 0.5 ** (1 / 64)
    for model, count in found.items():
        true = sum(fade**i for i, each in enumerate(reversed(requests)) if each == model)
        assert count >= true * (1 - 1e-4)


@given(counts, counts, counts)
def test_merging_models_is_commutative_and_associative(a, b, c):
    assert merged_models(a, b) == merged_models(b, a)
    assert merged_models(merged_models(a, b), c) == merged_models(a, merged_models(b, c))


@settings(deadline=None)
@given(st.lists(st.integers(0, HOURS - 1), max_size=200))
def test_hours_are_counted(hours):
    assert rhythm(hours).tolist() == [hours.count(hour) for hour in range(HOURS)]


def test_a_long_life_keeps_its_proportions():
    histogram = rhythm(([9] * 3 + [20]) * 2000)
    assert histogram[9] / histogram[20] == pytest.approx(3, rel=0.1)
    assert (merged_rhythm(histogram, histogram) == 2 * histogram.astype(int)).all()
