import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.sketches.hyperloglog import BYTES, ERROR, estimate, merged, note

things = st.lists(st.integers(0, 2**64 - 1), max_size=100)


def sketch(hashes):
    registers = np.zeros(BYTES, np.uint8)
    for hashed in hashes:
        note(registers, np.uint64(hashed))
    return registers


@numba.njit
def note_all(registers, hashes):
    for hashed in hashes:
        note(registers, hashed)


def some(count, seed=1):
    return np.random.default_rng(seed).integers(0, 2**64, count, np.uint64)


@settings(deadline=None)
@given(things, things, things)
def test_merging_is_commutative_associative_and_idempotent(one, two, three):
    a, b, c = sketch(one), sketch(two), sketch(three)
    assert (merged(a, b) == merged(b, a)).all()
    assert (merged(merged(a, b), c) == merged(a, merged(b, c))).all()
    assert (merged(a, a) == a).all()


@settings(deadline=None)
@given(things, things)
def test_the_merger_is_the_sketch_of_both(one, two):
    assert (merged(sketch(one), sketch(two)) == sketch(one + two)).all()


@settings(deadline=None)
@given(things)
def test_neither_order_nor_repeats_matter(hashes):
    assert (sketch(hashes) == sketch(sorted(hashes) * 2)).all()


def test_nothing_is_none():
    assert estimate(np.zeros((1, BYTES), np.uint8))[0] == 0


@pytest.mark.parametrize("count", [1, 3, 10, 50, 100, 300, 1_000, 10_000, 100_000])
def test_estimates_keep_within_their_error(count):
    registers = np.zeros((400, BYTES), np.uint8)
    for seed in range(400):
        note_all(registers[seed], some(count, seed))
    found = estimate(registers) / count
    assert np.sqrt(np.mean((found - 1) ** 2)) < 1.15 * ERROR
    assert abs(np.mean(found) - 1) < 0.04
