import pytest

from pipelines.modelling.results import (
    KeyResult,
    false_keys_of,
    mean_recall,
    recall_of,
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
    few, many = (recall_of(fleet("one", keys, flagged=keys))[0] for keys in (10, 200))
    assert few.interval == many.interval
    more = recall_of([*fleet("one", 10, flagged=10), *fleet("two", 10, flagged=10)])[0]
    assert more.interval[0] > few.interval[0]
    assert (more.keys, more.fleets, more.recall) == (20, 2, 1.0)


def test_recall_leaves_out_keys_with_few_requests():
    row, _ = recall_of([*fleet("one", 4, flagged=4), *fleet("two", 6, requests=19)])
    assert (row.keys, row.recall) == (4, 1.0)


def test_recall_states_requests_and_first_alert():
    row, _ = recall_of(fleet("one", 10, flagged=10))
    assert row.requests == (15, 19)
    assert row.first == {"campaign": 10}


def test_recall_of_a_class_is_followed_by_its_sources():
    rows = recall_of([*fleet("one", 4, flagged=4), *fleet("two", 4, kind="bulk")])
    assert [(row.kind, row.source, row.recall) for row in rows] == [
        ("bulk", "", 0.0),
        ("bulk", "exams", 0.0),
        ("cot", "", 1.0),
        ("cot", "exams", 1.0),
    ]


def test_mean_recall_weighs_classes_alike():
    rows = recall_of([*fleet("one", 100, flagged=100), *fleet("two", 10, kind="bulk")])
    assert mean_recall(rows)[0] == 0.5


def test_mean_recall_interval_narrows_with_fleets_and_classes():
    def width(fleets, classes):
        keys = [
            key
            for kind in range(classes)
            for i in range(fleets)
            for key in fleet(f"{kind} {i}", 5, flagged=5 * (i % 2), kind=str(kind))
        ]
        _, low, high = mean_recall(recall_of(keys))
        return high - low

    assert width(20, 1) < width(2, 1)
    assert width(2, 4) == pytest.approx(width(2, 1) / 2)


def test_mean_recall_is_uncertain_even_if_all_is_caught():
    mean, low, high = mean_recall(recall_of(fleet("one", 50, flagged=50)))
    assert (mean, high) == (1.0, 1.0)
    assert low < 0.5


def test_mean_recall_of_ordinary_keys_is_zero():
    assert mean_recall(recall_of(ordinary(3))) == (0.0, 0.0, 0.0)


def test_false_key_with_two_alerts_counts_once():
    (row,) = false_keys_of([*ordinary(2, "burst", "coverage"), *ordinary(8), *fleet("one", 5)])
    assert (row.keys, row.flagged, row.kinds) == (10, 2, {"burst": 2, "coverage": 2})
    assert 0.0 < row.interval[0] < 0.2 < row.interval[1] < 1.0
