"""Moves to new networks and clients, and changes of work."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.prompts.projection import CONTENT, SCALE
from monitor.records.origins import MIN_PROMPTS, PAST, update_origins, work_change
from monitor.records.profile import HALF_LIVES, blank
from monitor.sketches import kernel_mean

HOME, LAPTOP, CLOUD, SCRIPT = 11, 21, 12, 22  # two networks and two clients
DAY = 86_400.0


def use(record, times, network, client):
    for t in times:
        update_origins(record, t, network, client)


def settled():
    record = blank()
    use(record, np.arange(1.0, 2 * PAST), HOME, LAPTOP)
    return record


def test_new_network_and_client_begin_a_move():
    record = settled()
    use(record, range(1_000, 1_010), CLOUD, SCRIPT)
    use(record, range(1_010, 1_015), HOME, LAPTOP)
    assert record["moved_since"] == 1_000
    assert (record["moved_requests"], record["unmoved_requests"]) == (10, 5)


@pytest.mark.parametrize("origin", [(CLOUD, LAPTOP), (HOME, SCRIPT), (CLOUD, 0), (0, SCRIPT)])
def test_new_network_or_client_alone_is_no_move(origin):
    record = settled()
    use(record, range(1_000, 1_010), *origin)
    assert record["moved_since"] == 0


def test_rotating_networks_and_clients_stay_in_one_move():
    record = settled()
    for n in range(50):
        update_origins(record, 1_000.0 + n, 100 + n, 200 + n)
    assert record["moved_requests"] == 50


def test_key_without_a_past_does_not_move():
    record = blank()
    use(record, range(1, 10), HOME, LAPTOP)
    use(record, range(10, 20), CLOUD, SCRIPT)
    assert record["moved_since"] == 0


def test_new_origin_is_usual_after_a_day():
    record = settled()
    use(record, range(1_000, 1_010), CLOUD, SCRIPT)
    use(record, DAY + np.arange(1_001.0, 1_040.0), CLOUD, SCRIPT)
    assert record["moved_since"] == 0
    use(record, 2 * DAY + np.arange(10.0), CLOUD, SCRIPT)
    assert record["moved_requests"] == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=80))
def test_counts_are_never_lower_than_those_of_the_list(origins):
    record = blank()
    for t, (network, client) in enumerate(origins):
        update_origins(record, 1.0 + t, network, client)
    assert (record["network_counts"] >= 0).all()
    assert len({*record["networks"].tolist()} - {0}) == np.count_nonzero(record["networks"])


def record_of(vectors):
    """A record whose content means are those of `vectors`, `(n, CONTENT)`."""
    record = blank()
    features = np.clip(np.rint(vectors * SCALE), -127, 127).astype(np.int8)
    for n, feature in enumerate(features):
        for i, half_life in enumerate(HALF_LIVES):
            weight = kernel_mean.newest_weight(n + 1, kernel_mean.decay(half_life))
            kernel_mean.add(record["content"][i], feature, weight, 97 * n + i)
        record["sketch_prompts"] = n + 1
    return record


def test_prompts_in_random_order_change_work_by_about_one():
    vectors = np.random.default_rng(1).normal(size=(600, CONTENT))
    assert work_change(record_of(vectors)) == pytest.approx(1.0, abs=0.5)


def test_other_work_changes_the_level():
    vectors = np.random.default_rng(1).normal(size=(600, CONTENT))
    vectors[500:] += 1.0
    assert work_change(record_of(vectors)) > 3.0


def test_few_prompts_show_no_change():
    vectors = np.random.default_rng(1).normal(size=(MIN_PROMPTS - 1, CONTENT))
    vectors[60:] += 2.0
    assert work_change(record_of(vectors)) == 0.0
