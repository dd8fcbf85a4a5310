import pytest

from pipelines.modelling.results import (
    KeyResult,
    false_by,
    mean_recall,
    recall_by,
    wilson_interval,
)


def fleet(name, keys, *, flagged=0, kind="cot", requests=50):
    """Attackers; the first ones are flagged by a campaign after 10 requests."""
    return [
        KeyResult(kind, True, name, "exams", requests, {"campaign": 10 + i} if i < flagged else {})
        for i in range(keys)
    ]


def ordinary(keys, *kinds):
    return [KeyResult("chat", False, f"k{i}", "", 5, dict.fromkeys(kinds, 3)) for i in range(keys)]


@pytest.mark.parametrize(
    ("share", "trials", "expected"),
    [(1.0, 6, (0.61, 1.0)), (0.0, 3000, (0.0, 0.0013)), (0.5, 2, (0.09, 0.91)), (0.0, 0, (0, 1))],
)
def test_wilson_interval_holds_known_values(share, trials, expected):
    assert wilson_interval(share, trials) == pytest.approx(expected, abs=5e-3)


def test_recall_interval_depends_on_fleets_not_keys():
    few, many = (recall_by(fleet("one", keys, flagged=keys))[0] for keys in (10, 200))
    assert few.interval == many.interval
    more = recall_by([*fleet("one", 10, flagged=10), *fleet("two", 10, flagged=10)])[0]
    assert more.interval[0] > few.interval[0]
    assert (more.keys, more.fleets, more.recall) == (20, 2, 1.0)


def test_recall_leaves_out_keys_with_few_requests():
    (row,) = recall_by([*fleet("one", 4, flagged=4), *fleet("two", 6, requests=19)])
    assert (row.keys, row.recall) == (4, 1.0)


def test_recall_states_requests_and_first_alert():
    (row,) = recall_by(fleet("one", 10, flagged=10))
    assert row.requests == (15, 19)
    assert row.first == {"campaign": 10}


def test_mean_recall_weighs_classes_alike():
    keys = [*fleet("one", 100, flagged=100), *fleet("two", 10, kind="bulk")]
    assert mean_recall(keys)[0] == 0.5


def test_mean_recall_interval_draws_whole_fleets():
    together = [*fleet("one", 50, flagged=50), *fleet("two", 50)]
    apart = [key for i in range(100) for key in fleet(f"fleet {i}", 1, flagged=i % 2)]
    wide, narrow = (mean_recall(keys) for keys in (together, apart))
    assert wide[0] == narrow[0] == 0.5
    assert wide[2] - wide[1] > 3 * (narrow[2] - narrow[1])


def test_mean_recall_of_ordinary_keys_is_zero():
    assert mean_recall(ordinary(3)) == (0.0, 0.0, 0.0)


def test_false_key_with_two_alerts_counts_once():
    (row,) = false_by([*ordinary(2, "burst", "coverage"), *ordinary(8), *fleet("one", 5)])
    assert (row.keys, row.flagged, row.kinds) == (10, 2, {"burst": 2, "coverage": 2})
    assert 0.0 < row.interval[0] < 0.2 < row.interval[1] < 1.0
