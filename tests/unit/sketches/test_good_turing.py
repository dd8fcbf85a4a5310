from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.sketches.good_turing import BYTES, GENERATION, merged, note, novelty

cells = st.lists(st.integers(0, 2**32 - 1), max_size=150)


def sketch(hashes):
    generations = np.zeros((2, BYTES), np.uint8)
    for i, hashed in enumerate(hashes):
        note(generations, i, np.uint64(hashed))
    return generations


def of(hashes):
    return float(novelty(sketch(hashes)[None], [len(hashes)])[0])


def drawn(count, kinds, seed=1):
    """So many prompts of so many equally frequent kinds."""
    which = np.random.default_rng(seed).integers(0, kinds, count).tolist()
    return [
        int.from_bytes(blake2b(b"%d %d" % (seed, kind), digest_size=8).digest()) for kind in which
    ]


@settings(deadline=None)
@given(cells, cells, cells)
def test_merging_is_commutative_and_associative(one, two, three):
    a, b, c = sketch(one), sketch(two), sketch(three)
    assert (merged(a, b) == merged(b, a)).all()
    assert (merged(merged(a, b), c) == merged(a, merged(b, c))).all()


@settings(deadline=None)
@given(cells)
def test_it_is_a_probability(hashes):
    assert 0 <= of(hashes) <= 1


def test_who_has_said_nothing_will_say_something_new():
    assert of([]) == 1


def test_who_repeats_one_kind_will_go_on():
    assert of([7] * 100) == 0


@pytest.mark.parametrize("count", [20, 64, 100, 1000])
def test_who_never_repeats_a_kind_is_all_novelty(count):
    found = [of(drawn(count, 10**9, seed)) for seed in range(60)]
    assert np.mean(found) > 0.9


@pytest.mark.parametrize("kinds", [10, 40, 160])
def test_the_estimate_is_near_the_mass_of_the_unseen(kinds):
    count = GENERATION
    unseen = (1 - 1 / kinds) ** (count - 1)  # expected
    found = [of(drawn(count, kinds, seed)) for seed in range(100)]
    assert np.mean(found) == pytest.approx(unseen, abs=0.1)


def test_what_lies_two_generations_back_is_forgotten():
    lately = drawn(2 * GENERATION, 10)
    assert of(drawn(GENERATION, 10**9) + lately) == of(drawn(GENERATION, 10**9, 2) + lately)
