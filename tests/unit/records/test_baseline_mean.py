import msgspec
import numpy as np
import pytest

from monitor.prompts.kernel import MEANING
from monitor.records.baseline_mean import (
    GROUPS,
    LAG_DAYS,
    MIN_GROUP_PROMPTS,
    PROMPTS_PER_DAY,
    BaselineMean,
    Sums,
    decode,
)

DAY = 20_000


def prompts_of(keys, *, seed=1, at=None):
    """Sums of one day of keys, each around a point of its own, all around `at`."""
    rng = np.random.default_rng(seed)
    sums = Sums.empty()
    for key in range(keys):
        around = (np.full(MEANING, 0.1) if at is None else at) + 0.05 * rng.normal(size=MEANING)
        sums.vectors[key % GROUPS] += np.rint(127 * around) * PROMPTS_PER_DAY
        sums.prompts[key % GROUPS] += PROMPTS_PER_DAY
    return sums


def add(mean, sums):
    mean.today.vectors[:] += sums.vectors
    mean.today.prompts[:] += sums.prompts


def known(mean, day):
    mean.apply(day, decode({"t:0": mean.publish()}))
    return mean.meaning


def test_mean_is_unknown_without_prompts():
    assert BaselineMean(Sums.empty()).meaning.uncertainty == np.inf


def test_mean_uses_what_was_learned_two_days_ago():
    mean = BaselineMean(Sums.empty())
    add(mean, prompts_of(800))
    mean.end_day(DAY)
    assert known(mean, DAY + LAG_DAYS - 1).uncertainty == np.inf
    assert known(mean, DAY + LAG_DAYS).uncertainty < 1e-2
    assert np.abs(mean.meaning.mean - 0.1).max() < 0.02


def test_partitions_share_what_each_has_learned():
    one, other = BaselineMean(Sums.empty()), BaselineMean(Sums.empty())
    add(one, prompts_of(400, seed=1))
    add(other, prompts_of(400, seed=2))
    published = {}
    for name, each in (("t:0", one), ("t:1", other)):
        each.end_day(DAY)
        published[name] = each.publish()
    for each in (one, other):
        each.apply(DAY + LAG_DAYS, decode(published))
    assert (one.meaning.mean == other.meaning.mean).all()
    alone = BaselineMean(Sums.empty())
    alone.apply(DAY + LAG_DAYS, decode({"t:0": published["t:0"]}))
    assert one.meaning.uncertainty < alone.meaning.uncertainty


def test_uncertainty_is_the_expected_squared_error():
    errors, published = [], []
    for seed in range(200):
        mean = BaselineMean(prompts_of(80, seed=seed))
        errors.append(((mean.meaning.mean - 0.1) ** 2).sum())
        published.append(mean.meaning.uncertainty)
    assert np.mean(published) == pytest.approx(np.mean(errors), rel=0.1)


def test_campaign_among_many_honest_keys_hardly_moves_the_mean():
    honest, elsewhere = prompts_of(2_000), np.full(MEANING, -0.3)
    campaign = prompts_of(20, at=elsewhere)
    before, after = (
        BaselineMean(honest).meaning.mean,
        BaselineMean(honest.plus(campaign)).meaning.mean,
    )
    moved = np.linalg.norm(after - before)
    assert moved < 0.011 * np.linalg.norm(elsewhere - before)


def test_mean_forgets_old_days():
    mean = BaselineMean(Sums.empty())
    add(mean, prompts_of(800))
    mean.end_day(DAY)
    add(mean, prompts_of(800, at=np.full(MEANING, -0.1)))
    mean.end_day(DAY + 60)
    assert known(mean, DAY + 60 + LAG_DAYS).mean.mean() < -0.08


def test_mean_is_unknown_if_a_group_has_few_prompts():
    few = prompts_of(800)
    few.prompts[0] = MIN_GROUP_PROMPTS - 1
    assert BaselineMean(few).meaning.uncertainty == np.inf


def test_restore_returns_the_snapshot_state():
    mean = BaselineMean(prompts_of(80))
    add(mean, prompts_of(160, seed=2))
    mean.end_day(DAY)
    add(mean, prompts_of(50, seed=3))
    known(mean, DAY + LAG_DAYS)
    again = BaselineMean(prompts_of(80))
    again.restore(mean.snapshot())
    assert again.snapshot() == mean.snapshot()
    assert (again.meaning.mean == mean.meaning.mean).all()
    assert (again.today.vectors == mean.today.vectors).all()


def with_words(sums, dtype):
    """Sums as record versions 2 and 3 stored them: with hashed words and a second count."""
    words = np.full((GROUPS, 32), 7.0)
    rows = np.column_stack([sums.vectors, words, sums.prompts, sums.prompts])
    return rows.astype(dtype).tobytes()


def test_published_sums_of_an_earlier_version_are_read():
    sums = prompts_of(80)
    published = msgspec.msgpack.encode([(DAY, with_words(sums, "<f4"))])
    old, new = BaselineMean(Sums.empty()), BaselineMean(Sums.empty())
    old.apply(DAY + LAG_DAYS, decode({"t:0": published}))
    present = msgspec.msgpack.encode([(DAY, sums.to_bytes())])
    new.apply(DAY + LAG_DAYS, decode({"t:0": present}))
    assert (old.meaning.mean == new.meaning.mean).all()
    assert old.meaning.uncertainty == new.meaning.uncertainty


def test_state_of_an_earlier_version_is_restored():
    today, pool = prompts_of(50, seed=3), prompts_of(80)
    learned = [(DAY, with_words(pool, "<f4"))]
    state = [with_words(today, "<f8"), learned, with_words(pool, "<f4")]
    mean = BaselineMean(Sums.empty())
    mean.restore(msgspec.msgpack.encode(state))
    assert (mean.today.vectors == today.vectors).all()
    assert (mean.today.prompts == today.prompts).all()
    assert (mean.meaning.mean == BaselineMean(pool).meaning.mean).all()
