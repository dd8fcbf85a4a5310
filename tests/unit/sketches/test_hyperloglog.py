import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.sketches.hyperloglog import BYTES, ERROR, add, estimate

things = st.lists(st.integers(0, 2**64 - 1), max_size=100)


def sketch(hashes):
    registers = np.zeros(BYTES, np.uint8)
    for hashed in hashes:
        add(registers, np.uint64(hashed))
    return registers


@numba.njit
def add_all(registers, hashes):
    for hashed in hashes:
        add(registers, hashed)


def some(count, seed=1):
    return np.random.default_rng(seed).integers(0, 2**64, count, np.uint64)


@settings(deadline=None)
@given(things)
def test_sketch_ignores_order_and_repeats(hashes):
    assert (sketch(hashes) == sketch(sorted(hashes) * 2)).all()


def test_empty_sketch_counts_zero():
    assert estimate(np.zeros((1, BYTES), np.uint8))[0] == 0


@pytest.mark.parametrize("count", [1, 3, 10, 50, 100, 300, 1_000, 10_000, 100_000])
def test_estimates_stay_within_their_error(count):
    registers = np.zeros((400, BYTES), np.uint8)
    for seed in range(400):
        add_all(registers[seed], some(count, seed))
    found = estimate(registers) / count
    assert np.sqrt(np.mean((found - 1) ** 2)) < 1.15 * ERROR
    assert abs(np.mean(found) - 1) < 0.04
