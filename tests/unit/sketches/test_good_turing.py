from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.sketches.good_turing import BYTES, GENERATION, add, novelty

cells = st.lists(st.integers(0, 2**32 - 1), max_size=150)


def sketch(hashes):
    generations = np.zeros((2, BYTES), np.uint8)
    for i, hashed in enumerate(hashes):
        add(generations, i, np.uint64(hashed))
    return generations


def of(hashes):
    return float(novelty(sketch(hashes)[None], [len(hashes)])[0])


def drawn(count, kinds, seed=1):
    """`count` prompts of `kinds` equally frequent kinds."""
    which = np.random.default_rng(seed).integers(0, kinds, count).tolist()
    return [
        int.from_bytes(blake2b(b"%d %d" % (seed, kind), digest_size=8).digest()) for kind in which
    ]


@settings(deadline=None)
@given(cells)
def test_novelty_is_a_probability(hashes):
    assert 0 <= of(hashes) <= 1


def test_novelty_is_one_without_prompts():
    assert of([]) == 1


def test_novelty_is_zero_for_one_repeated_kind():
    assert of([7] * 100) == 0


@pytest.mark.parametrize("count", [20, 64, 100, 1000])
def test_novelty_is_high_when_no_kind_repeats(count):
    found = [of(drawn(count, 10**9, seed)) for seed in range(60)]
    assert np.mean(found) > 0.9


@pytest.mark.parametrize("kinds", [10, 40, 160])
def test_novelty_is_near_the_mass_of_unseen_kinds(kinds):
    count = GENERATION
    unseen = (1 - 1 / kinds) ** (count - 1)  # expected
    found = [of(drawn(count, kinds, seed)) for seed in range(100)]
    assert np.mean(found) == pytest.approx(unseen, abs=0.1)


def test_novelty_forgets_after_two_generations():
    lately = drawn(2 * GENERATION, 10)
    assert of(drawn(GENERATION, 10**9) + lately) == of(drawn(GENERATION, 10**9, 2) + lately)
