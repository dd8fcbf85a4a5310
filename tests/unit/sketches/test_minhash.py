import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.sketches.minhash import ERROR, PLACES, merged, note, similarity

elements = st.lists(st.integers(0, 2**64 - 1), max_size=50)


def sketch(hashes):
    places = np.zeros(PLACES, np.uint32)
    for hashed in hashes:
        note(places, np.uint64(hashed))
    return places


@settings(deadline=None)
@given(elements, elements, elements)
def test_merging_is_commutative_associative_and_idempotent(one, two, three):
    a, b, c = sketch(one), sketch(two), sketch(three)
    assert (merged(a, b) == merged(b, a)).all()
    assert (merged(merged(a, b), c) == merged(a, merged(b, c))).all()
    assert (merged(a, a) == a).all()


@settings(deadline=None)
@given(elements, elements)
def test_the_merger_is_the_sketch_of_the_union(one, two):
    assert (merged(sketch(one), sketch(two)) == sketch(one + two)).all()


def test_an_empty_set_is_like_nothing():
    assert similarity(sketch([]), sketch([])) == 0


@pytest.mark.parametrize("common", [0, 25, 50, 100])
def test_estimates_of_similarity_keep_within_their_error(common):
    rng = np.random.default_rng(common)
    found = []
    for _ in range(200):
        hashes = rng.integers(0, 2**64, 200 - common, np.uint64).tolist()
        found.append(similarity(sketch(hashes[:100]), sketch(hashes[100 - common :])))
    jaccard = common / (200 - common)
    assert np.mean(found) == pytest.approx(jaccard, abs=0.03)
    assert np.std(found) <= 1.2 * ERROR
