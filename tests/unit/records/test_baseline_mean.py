import numpy as np
import pytest

from monitor.prompts.kernel import MEANING
from monitor.records.baseline_mean import DIMENSIONS, GROUPS, LAG, LEAST, TAUGHT, BaselineMean, Sums

DAY = 20_000


def prompts_of(keys, *, seed=1, at=None):
    """What so many keys teach in a day, each around a place of its own, all around `at`."""
    rng = np.random.default_rng(seed)
    sums = Sums.none()
    for key in range(keys):
        around = (np.full(DIMENSIONS, 0.1) if at is None else at) + 0.05 * rng.normal(
            size=DIMENSIONS
        )
        sums.vectors[key % GROUPS] += np.rint(127 * around) * TAUGHT
        sums.prompts[key % GROUPS] += TAUGHT
    return sums


def teach(mean, sums):
    mean.today.vectors[:] += sums.vectors
    mean.today.prompts[:] += sums.prompts


def known(mean, day):
    mean.use(day, {"t:0": mean.say()})
    return mean.meaning


def test_a_reference_without_prompts_knows_nothing():
    assert BaselineMean(Sums.none()).meaning.uncertainty == np.inf


def test_what_is_learned_is_used_two_days_later():
    mean = BaselineMean(Sums.none())
    teach(mean, prompts_of(800))
    mean.turn(DAY)
    assert known(mean, DAY + LAG - 1).uncertainty == np.inf
    assert known(mean, DAY + LAG).uncertainty < 1e-2
    assert np.abs(mean.meaning.mean - 0.1).max() < 0.02


def test_partitions_know_together_what_each_has_learned():
    one, other = BaselineMean(Sums.none()), BaselineMean(Sums.none())
    teach(one, prompts_of(400, seed=1))
    teach(other, prompts_of(400, seed=2))
    said = {}
    for name, each in (("t:0", one), ("t:1", other)):
        each.turn(DAY)
        said[name] = each.say()
    for each in (one, other):
        each.use(DAY + LAG, said)
    assert (one.meaning.mean == other.meaning.mean).all()
    alone = BaselineMean(Sums.none())
    alone.use(DAY + LAG, {"t:0": said["t:0"]})
    assert one.meaning.uncertainty < alone.meaning.uncertainty


def test_the_uncertainty_is_the_squared_error_to_be_expected():
    errors, said = [], []
    for seed in range(200):
        mean = BaselineMean(prompts_of(80, seed=seed))
        errors.append(((mean.meaning.mean - 0.1) ** 2).sum())
        said.append(mean.meaning.uncertainty)
    assert np.mean(said) == pytest.approx(np.mean(errors), rel=0.1)


def test_a_campaign_among_a_hundred_times_as_many_honest_keys_hardly_moves_it():
    honest, elsewhere = prompts_of(2_000), np.full(DIMENSIONS, -0.3)
    campaign = prompts_of(20, at=elsewhere)
    before, after = (
        BaselineMean(honest).meaning.mean,
        BaselineMean(honest.plus(campaign)).meaning.mean,
    )
    moved = np.linalg.norm(after - before)
    assert moved < 0.011 * np.linalg.norm(elsewhere[:MEANING] - before)


def test_what_was_learned_fades():
    mean = BaselineMean(Sums.none())
    teach(mean, prompts_of(800))
    mean.turn(DAY)
    teach(mean, prompts_of(800, at=np.full(DIMENSIONS, -0.1)))
    mean.turn(DAY + 60)
    assert known(mean, DAY + 60 + LAG).mean.mean() < -0.08


def test_a_group_with_hardly_a_prompt_leaves_the_mean_unknown():
    few = prompts_of(800)
    few.prompts[0] = LEAST - 1
    assert BaselineMean(few).meaning.uncertainty == np.inf


def test_what_is_restored_knows_what_was_dumped():
    mean = BaselineMean(prompts_of(80))
    teach(mean, prompts_of(160, seed=2))
    mean.turn(DAY)
    teach(mean, prompts_of(50, seed=3))
    known(mean, DAY + LAG)
    again = BaselineMean(prompts_of(80))
    again.restore(mean.dump())
    assert again.dump() == mean.dump()
    assert (again.meaning.mean == mean.meaning.mean).all()
    assert (again.today.vectors == mean.today.vectors).all()
