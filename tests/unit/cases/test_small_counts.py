"""No small count can be read or worked out from a table."""

from itertools import product

from pipelines.cases.review.small_counts import FEW, HIDDEN, LEAST, hidden_in, table_of


def texts(counts):
    return {row.label: row.text for row in table_of("t", counts, "alerts", "s").rows}


def test_large_counts_are_printed():
    assert texts({"a": 1_200, "b": 5, "c": 0}) == {"a": "1,200", "b": "5", "c": "0", "all": "1,205"}


def test_small_count_hides_another_one():
    found = texts({"a": 1_200, "b": 3, "c": 7})
    assert found == {"a": "1,200", "b": FEW, "c": HIDDEN, "all": "1,210"}


def test_two_small_counts_need_no_other():
    assert texts({"a": 9, "b": 4, "c": 3}) == {"a": "9", "b": FEW, "c": FEW, "all": "16"}


def test_small_total_is_hidden():
    assert texts({"a": 1, "b": 2, "c": 0}) == {"a": FEW, "b": FEW, "c": "0", "all": FEW}


def test_hidden_counts_never_follow_from_the_rest():
    for values in product((0, 1, 2, 4, 5, 9), repeat=4):
        counts = dict(zip("abcd", values, strict=True))
        hidden, total = hidden_in(counts), sum(values)
        assert all(counts[name] > 0 for name in hidden)
        assert all(count >= LEAST or not count for n, count in counts.items() if n not in hidden)
        if hidden and total >= LEAST:
            assert len(hidden) > 1
            assert sum(counts[name] for name in hidden) >= LEAST
