import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import StoreRefusedError
from monitor.records.migrations import read
from monitor.records.profile import blank
from monitor.store.base import Checkpoint
from monitor.store.memory import MemoryStore
from monitor.store.table import Table

batches = st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=6), max_size=40)


def add(table, keys):
    rows = table.rows([f"k_{key}" for key in keys])
    for row in rows.tolist():
        table.records[row]["requests"] += 1
    table.mark_changed(rows)


def save(table, store):
    store.commit(Checkpoint(table.snapshot()))
    table.commit()


@settings(deadline=None)
@given(batches)
def test_table_loses_nothing_when_it_evicts(batches):
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


def test_table_gives_one_row_per_key_in_a_batch():
    rows = Table(MemoryStore(), 16).rows(["a", "b", "a"])
    assert rows[0] == rows[2] != rows[1]


def test_rolled_back_rows_are_in_the_next_snapshot():
    table = Table(MemoryStore(), 16)
    add(table, [1])
    first = table.snapshot()
    assert table.snapshot() == {}
    table.rollback()
    assert table.snapshot() == first


def test_row_changed_during_a_commit_is_in_the_next_snapshot():
    table = Table(MemoryStore(), 16)
    add(table, [1])
    table.snapshot()
    add(table, [1])
    table.commit()
    assert list(table.snapshot()) == ["k_1"]


def test_table_grows_for_a_batch_and_shrinks_when_saved():
    store = MemoryStore()
    table = Table(store, 4)
    add(table, range(10))
    add(table, range(3, 13))
    assert len(table.records) == 13
    table.snapshot()
    add(table, [7])
    save_first = {name: table.records[table.rows([name])[0]].tobytes() for name in ("k_0", "k_7")}
    table.rollback()
    save(table, store)
    assert len(table.records) == 4
    assert [read(data).tobytes() for data in store.load([*save_first])] == [*save_first.values()]
    add(table, [7])
    assert table.records[table.rows(["k_7"])[0]]["requests"] == 4


@settings(deadline=None)
@given(batches, st.integers(1, 20))
def test_small_table_counts_like_a_large_one(batches, capacity):
    store, counts = MemoryStore(), {}
    table = Table(store, capacity)
    for number, keys in enumerate(batches):
        add(table, keys)
        for key in keys:
            counts[key] = counts.get(key, 0) + 1
        if number % 3 == 0:
            snapshot = table.snapshot()
            add(table, keys[:1])  # while the snapshot is being written
            counts[keys[0]] += 1
            store.commit(Checkpoint(snapshot))
            table.commit()
    save(table, store)
    assert len(table.records) == capacity
    for key, count in counts.items():
        assert table.records[table.rows([f"k_{key}"])[0]]["requests"] == count


@pytest.mark.parametrize("data", [b"", bytes(10), (999).to_bytes(2, "little") + bytes(2_038)])
def test_unreadable_record_is_reported_and_not_replaced(data):
    store = MemoryStore()
    store.commit(Checkpoint({"k_1": data}))
    table = Table(store, 16)
    with pytest.raises(StoreRefusedError):
        table.rows(["k_2", "k_1"])
    assert len(table) == 0
    assert table.snapshot() == {}
    assert store.load(["k_1"]) == [data]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("level", np.nan),
        ("day_peak", 200),
        ("baseline_group", 200),
        ("frame_hand", 200),
        ("last_seen", np.inf),
    ],
)
def test_damaged_record_is_refused_with_its_name(field, value):
    record = blank()
    record[field] = value
    store = MemoryStore()
    store.commit(Checkpoint({"k_1": record.tobytes()}))
    with pytest.raises(StoreRefusedError, match=r"record of k_1 .* is damaged: restore it"):
        Table(store, 16).rows(["k_2", "k_1"])
