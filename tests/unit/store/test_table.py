import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import StoreError
from monitor.store.base import Checkpoint
from monitor.store.memory import MemoryStore
from monitor.store.table import Table

batches = st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=6), max_size=40)


def add(table, keys):
    rows = table.rows([f"k_{key}" for key in keys])
    for row in rows.tolist():
        table.records[row]["requests"] += 1
    table.touch(rows)


def save(table, store):
    store.commit(Checkpoint(table.take()))
    table.saved()


@settings(deadline=None)
@given(batches)
def test_nothing_is_lost_when_rows_make_room(batches):
    store, counts = MemoryStore(), {}
    table = Table(store, 16)
    for keys in batches:
        add(table, keys)
        for key in keys:
            counts[key] = counts.get(key, 0) + 1
        if table.crowded:
            save(table, store)
    keys = list(counts)
    for key in keys:
        if table.crowded:
            save(table, store)
        row = table.rows([f"k_{key}"])[0]
        assert table.records[row]["requests"] == counts[key]
    assert len(table) <= 16


def test_a_key_keeps_its_row_within_a_batch():
    rows = Table(MemoryStore(), 16).rows(["a", "b", "a"])
    assert rows[0] == rows[2] != rows[1]


def test_what_was_not_saved_is_taken_again():
    table = Table(MemoryStore(), 16)
    add(table, [1])
    taken = table.take()
    assert table.take() == {}
    table.failed()
    assert table.take() == taken


def test_a_row_changed_while_it_is_saved_is_taken_again():
    table = Table(MemoryStore(), 16)
    add(table, [1])
    table.take()
    add(table, [1])
    table.saved()
    assert list(table.take()) == ["k_1"]


def test_rows_that_are_not_saved_do_not_make_room():
    table = Table(MemoryStore(), 4)
    add(table, [1, 2, 3])
    with pytest.raises(StoreError, match="raise XM_ROWS"):
        table.rows(["k_4", "k_5"])
