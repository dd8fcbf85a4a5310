"""Forgotten subjects: nothing of them is left in memory or in the next checkpoint."""

import time

import numpy as np

from monitor.batch import Batch
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.linker import Linker
from monitor.partition import FlaggedAccount
from monitor.records.migrations import read
from monitor.records.profile import blank
from monitor.store.memory import MemoryStore
from monitor.store.operate.erasure import ErasureStore
from pipelines.health.forget import Forgetter
from tests.support.campaigns import partition
from tests.support.requests import elicitor, in_order, person

IDENTITY = Identity(b"0123456789abcdef", plain=True)
VALUES = in_order(elicitor(count=40), person("sk-person"))


def engine():
    made = Engine(Settings(), IDENTITY, MemoryStore())
    made.assign("t:0")
    made.observe(Batch("t:0", range(len(VALUES)), VALUES))
    return made


def saved(operator, store):
    checkpoint = operator.snapshot()
    store.commit(checkpoint)
    operator.commit(checkpoint)
    operator.published(checkpoint)
    return checkpoint


def test_forgotten_key_is_like_a_new_one():
    found, store = engine(), MemoryStore()
    found._store.claim("t:0")
    opened = {alert.id for alert in found.snapshot().alerts if alert.subject.id == "sk-cot"}
    assert opened
    found.forget(["sk-cot"])
    checkpoint = found.snapshot()
    resolved = {alert.id for alert in checkpoint.alerts if alert.state == "resolved"}
    assert resolved == opened
    assert read(dict(checkpoint.records.items())["sk-cot"]) == blank()
    assert found.open_alerts().total() == 0
    assert store.records == {}


def test_other_keys_stay():
    found = engine()
    before = found.table.records[found.table.find(["sk-person"])].copy()
    found.forget(["sk-cot"])
    assert (found.table.records[found.table.find(["sk-person"])] == before).all()


def test_state_of_partition_names_no_forgotten_subject():
    found = engine()
    (known,) = found.partitions.values()
    known.accounts["a_1"] = FlaggedAccount(7, {"sk-cot": 1.0, "sk-other": 2.0})
    known.end_users["u_1"] = "sk-cot"
    found.forget(["sk-cot"])
    known.outbox.clear()
    assert b"sk-cot" not in known.snapshot()
    assert known.accounts["a_1"].keys == {"sk-other": 2.0}


def test_forgotten_key_is_judged_by_what_it_sends_from_then_on():
    found = engine()
    found.forget(["sk-cot"])
    found.observe(Batch("t:0", range(len(VALUES), len(VALUES) + 1), [elicitor(count=41)[-1]]))
    (record,) = found.table.records[found.table.find(["sk-cot"])]
    assert record["requests"] == 1


def test_unknown_subject_is_forgotten_without_a_trace():
    found = engine()
    rows = len(found.table)
    found.forget(["k_unknown"])
    assert len(found.table) == rows


def test_linker_forgets_a_member():
    linker = Linker(Settings(), MemoryStore())
    known = partition()
    linker.partitions[known.name] = known
    campaign = max(known.rounds.campaigns, key=lambda each: len(each.named))
    key = next(iter(campaign.named))
    known.population.snapshot()
    linker.forget([key])
    assert key not in known.population.keys
    assert known.population.snapshot() == {key: None}
    assert key.encode() not in known.snapshot()
    assert known.dirty


def test_population_keeps_the_rows_of_others():
    known = partition().population
    before = {key: known.rows[known.index(key)].tobytes() for key in known.keys}
    direction = {key: known.direction[known.index(key)].copy() for key in known.keys}
    gone = known.keys[::3]
    known.forget(gone)
    assert known.keys == [key for key in before if key not in gone]
    for key in known.keys:
        assert known.rows[known.index(key)].tobytes() == before[key]
        assert np.array_equal(known.direction[known.index(key)], direction[key])


class Watching:
    """A worker that forgets; `works` says whether its store takes checkpoints."""

    def __init__(self):
        self.partitions, self.forgotten, self.works = ["t:0"], [], True

    async def forget(self, subjects):
        self.forgotten.append(subjects)
        return self.works


async def test_worker_forgets_once_for_each_partition_and_again_for_late_events(
    redis_url, monkeypatch
):
    store, watch = ErasureStore(redis_url), Watching()
    key = "k_" + "1" * 24
    asked = store.request(key, "ann", "INC-7")
    forgetter = Forgetter(store, watch)
    await forgetter.forget()
    assert store.done() == {(asked.id, "t:0")}
    await forgetter.forget()
    assert watch.forgotten == [[key], [key]]
    later = time.monotonic() + 61
    monkeypatch.setattr("pipelines.health.forget.time.monotonic", lambda: later)
    await forgetter.forget()
    assert len(watch.forgotten) == 2
    watch.partitions = ["t:0", "t:1"]
    await Forgetter(store, watch).forget()
    assert store.done() == {(asked.id, "t:0"), (asked.id, "t:1")}


async def test_worker_that_could_not_write_forgets_again(redis_url):
    store, watch = ErasureStore(redis_url), Watching()
    watch.works = False
    store.request("k_" + "1" * 24, "ann", "INC-7")
    await Forgetter(store, watch).forget()
    assert store.done() == set()
