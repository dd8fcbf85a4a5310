import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.sketches.habits import (
    DECAY,
    HOURS,
    MODELS,
    add_hour,
    add_name,
    model_counts,
)


def models(requests):
    names, seen = np.zeros(MODELS, np.uint32), np.zeros(MODELS, np.float32)
    for model in requests:
        add_name(names, seen, model, DECAY)
    return model_counts(names, seen)


def rhythm(hours):
    histogram = np.zeros(HOURS, np.uint8)
    for hour in hours:
        add_hour(histogram, hour)
    return histogram


def test_new_model_soon_has_the_largest_count():
    found = models([1] * 1000 + [2] * 70)
    assert max(found, key=found.get) == 2


def test_request_without_a_model_is_not_counted():
    assert models([0, 0]) == {}


@settings(deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=200))
def test_model_counts_are_never_too_low(requests):
    found = models(requests)
    fade = 0.5 ** (1 / 64)
    for model, count in found.items():
        true = sum(fade**i for i, each in enumerate(reversed(requests)) if each == model)
        assert count >= true * (1 - 1e-4)


@settings(deadline=None)
@given(st.lists(st.integers(0, HOURS - 1), max_size=200))
def test_rhythm_counts_hours(hours):
    assert rhythm(hours).tolist() == [hours.count(hour) for hour in range(HOURS)]


def test_rhythm_keeps_proportions_when_halved():
    histogram = rhythm(([9] * 3 + [20]) * 2000)
    assert histogram[9] / histogram[20] == pytest.approx(3, rel=0.1)
