import numpy as np

from monitor.records.harvest.level import FULL_PROMPTS, FULL_RATE, SLOW_RATE, add, update_level
from monitor.records.profile import DISTINCT, HARVEST, LEVELS, RECORD, REQUESTS, SCALES
from monitor.sketches import hyperloglog

WEIGHTS = np.array([0.0, 2.0, 5.0, 4.0, 4.0, 1.0])


def level(
    odds=2.0,
    *,
    unframed=0.0,
    prompts=FULL_PROMPTS,
    different=None,
    follow_ups=0.0,
    rate=100.0,
    users=0,
):
    record = np.zeros(1, RECORD)[0]
    for _ in range(prompts):
        add(record, odds, unframed)
    rng = np.random.default_rng(1)
    for hashed in rng.integers(1 << 62, size=prompts if different is None else different):
        hyperloglog.add(record["distinct"][DISTINCT.index("prompts")], np.uint64(hashed))
    for hashed in rng.integers(1 << 62, size=users):
        hyperloglog.add(record["distinct"][DISTINCT.index("end_users")], np.uint64(hashed))
    record["sketch_prompts"], record["requests"] = prompts, 10_000
    record["follow_ups"] = follow_ups
    levels = np.zeros(LEVELS)
    levels[REQUESTS.start + SCALES.index("1h")] = np.log2(1 + rate)
    update_level(record, WEIGHTS, levels)
    return float(levels[HARVEST])


def test_level_rises_with_tasks_and_prompts_without_a_frame():
    assert level(3.0) > level(2.0) > level(0.5) > 0
    assert level(2.0, unframed=1.0) > level(2.0)
    assert level(-4.0, unframed=1.0) == level(0.0, unframed=1.0) > 0


def test_level_of_data_in_a_frame_is_zero():
    assert level(-1.0) == 0


def test_repeats_and_follow_ups_count_against_it():
    assert level(different=4) < level()
    assert level(follow_ups=0.3) < level()
    assert level(users=100) < level()


def test_tasks_count_half_in_a_frame_that_states_a_task():
    assert level(2.0, unframed=0.25) > 2 * level(2.0, unframed=0.0)


def test_slow_key_counts_half():
    assert level(rate=SLOW_RATE) == 0.5 * level(rate=FULL_RATE) == 0.5 * level(rate=1_000)


def test_few_prompts_count_in_part():
    assert 0 < level(prompts=FULL_PROMPTS // 2) < 0.6 * level()


def test_prompt_that_was_not_judged_changes_nothing():
    record = np.zeros(1, RECORD)
    add(record[0], np.nan, True)
    assert record.tobytes() == np.zeros(1, RECORD).tobytes()
