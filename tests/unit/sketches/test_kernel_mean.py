import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.records.profile import HALF_LIVES
from monitor.sketches.kernel_mean import STEPS, UNIT, KernelMeans, add, decay, newest_weight

DIMENSIONS = 16
seeds = st.integers(0, 2**32 - 1)


def vectors(count, seed=1, bias=0.0):
    """Unit vectors as features are, around a common direction if there is a bias."""
    drawn = np.random.default_rng(seed).normal(size=(count, DIMENSIONS)) + bias
    return np.rint(UNIT * drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.int8)


def stored(features, half_life=HALF_LIVES[0]):
    mean = np.zeros(DIMENSIONS, np.int16)
    for i, feature in enumerate(features):
        add(mean, feature, newest_weight(i + 1, decay(half_life)), 7919 * i + int(feature[0]))
    return mean


def means(features, half_life=HALF_LIVES[0]):
    return KernelMeans.from_stored(stored(features, half_life)[None], [len(features)], half_life)


def exact(features, half_life=HALF_LIVES[0]):
    weights = decay(half_life) ** np.arange(len(features))[::-1]
    unit = features / UNIT
    total = (weights[:, None] * unit).sum(axis=0)
    squares = (weights**2)[None].sum(axis=1)
    return KernelMeans(total[None], weights[None].sum(axis=1), squares, squares)


@settings(deadline=None)
@given(seeds)
def test_mean_of_one_prompt_is_that_prompt(seed):
    feature = vectors(1, seed)
    assert (stored(feature) == feature[0].astype(int) * STEPS).all()


@pytest.mark.parametrize("half_life", HALF_LIVES)
@pytest.mark.parametrize("count", [2, 50, 3000])
def test_stored_mean_is_close_to_the_exact_decayed_mean(count, half_life):
    features = vectors(count, bias=0.3)
    assert np.abs(means(features, half_life).mean - exact(features, half_life).mean).max() < 2e-3


@settings(deadline=None)
@given(seeds, st.integers(1, 200))
def test_weights_follow_from_the_number_of_prompts(seed, count):
    features = vectors(count, seed)
    assert np.allclose(means(features).weight, exact(features).weight)
    assert np.allclose(means(features).squares, exact(features).squares)


def test_self_similarity_of_a_repeated_prompt_is_one():
    assert means(np.repeat(vectors(1), 100, axis=0)).self_similarity[0] == pytest.approx(
        1, abs=0.02
    )


def test_self_similarity_is_the_mean_over_pairs():
    features = vectors(300, bias=0.5)
    unit = features / UNIT
    pairs = (np.square(unit.sum(axis=0)).sum() - np.square(unit).sum()) / (300 * 299)
    assert means(features, 1e9).self_similarity[0] == pytest.approx(pairs, abs=0.01)


def test_squared_distance_of_ordinary_keys_is_near_zero():
    baseline = vectors(100_000, 5, bias=0.4).mean(axis=0) / UNIT
    apart = [means(vectors(60, s, bias=0.4)).squared_distance(baseline)[0] for s in range(200)]
    assert abs(np.mean(apart)) < 3 * np.std(apart) / np.sqrt(200) + 1e-3


def test_squared_distance_of_another_key_is_exact():
    here, there = np.ones(DIMENSIONS), np.concatenate([np.ones(8), -np.ones(8)])
    baseline = here / np.linalg.norm(here)
    feature = np.rint(UNIT * there / np.linalg.norm(there)).astype(np.int8)
    key = means(np.repeat(feature[None], 50, axis=0))
    assert key.squared_distance(baseline)[0] == pytest.approx(2.0, abs=0.02)


def test_squared_distance_subtracts_the_uncertainty():
    key, baseline = means(vectors(50)), np.zeros(DIMENSIONS)
    assert key.squared_distance(baseline, 0.25)[0] == key.squared_distance(baseline)[0] - 0.25
