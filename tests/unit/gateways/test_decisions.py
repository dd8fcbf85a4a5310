import asyncio
import logging
import threading
import time

import pytest

from monitor.alerting.decisions import ActiveDecision, Decision
from monitor.errors import StoreUnavailableError
from monitor.store.base import Checkpoint
from monitor.store.memory import MemoryStore
from pipelines.gateways import decisions as module
from pipelines.gateways import memory
from pipelines.gateways.decisions import LOOKUP_SECONDS, Decisions

BLOCK = Decision("k_1", "block", "a_1", made_at=1.0, seconds=60.0)
NOISE = 0.3  # of a busy machine


class Store(MemoryStore):
    """A store with a decision, which is away or hangs at times."""

    def __init__(self):
        super().__init__()
        self.commit(Checkpoint(decisions=[BLOCK]))
        self.away = False
        self.works = threading.Event()
        self.works.set()
        self.asked = []

    def decisions(self, keys):
        self.asked.append((threading.current_thread().name, list(keys)))
        self.works.wait(5)
        if self.away:
            raise StoreUnavailableError("Redis is away.")
        return super().decisions(keys)


@pytest.fixture
def store():
    store = Store()
    yield store
    store.works.set()


@pytest.fixture
async def decisions(store):
    decisions = Decisions(store)
    yield decisions
    await decisions.close()


@pytest.fixture
def stale(monkeypatch):
    """Memory is confirmed from the store at every request."""
    monkeypatch.setattr(memory, "FRESH_SECONDS", 0.0)


async def action(decisions, *subjects):
    decision, known = await decisions.find(subjects)
    return decision.action if decision else "observe" if known else "unknown"


async def until(decisions, subject, expected):
    async with asyncio.timeout(10):
        while await action(decisions, subject) != expected:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_strongest_decision_of_all_subjects_is_found(decisions, store):
    store.commit(Checkpoint(decisions=[Decision("k_2", "throttle", "a_2", 1.0, 60.0)]))
    assert await action(decisions, "k_2", "k_1", "k_3") == "block"
    assert await action(decisions, "k_2", "k_3") == "throttle"
    assert await action(decisions, "k_3") == "observe"


async def test_lookups_use_threads_of_their_own(decisions, store):
    await decisions.find(["k_1"])
    assert [thread.rpartition("_")[0] for thread, _ in store.asked] == ["lookup"]


async def test_second_lookup_within_a_second_is_answered_from_memory(decisions, store):
    for _ in range(3):
        assert await action(decisions, "k_1", "k_2") == "block"
    assert len(store.asked) == 1


async def test_waiting_lookups_share_one_batch(decisions, store):
    store.works.clear()
    first = asyncio.ensure_future(decisions.find(["k_0"]))
    await asyncio.sleep(0.05)
    others = [asyncio.ensure_future(decisions.find([f"k_{n % 100}"])) for n in range(1, 500)]
    await asyncio.sleep(0.05)
    store.works.set()
    found = await asyncio.gather(first, *others)
    assert len(store.asked) == 2
    assert [each.decision is not None for each in found].count(True) == 5
    assert all(each.known for each in found)


async def test_withdrawn_decision_ends_at_the_next_confirmation(decisions, store, stale):
    assert await action(decisions, "k_1") == "block"
    store._decisions.clear()
    assert await action(decisions, "k_1") == "observe"


async def test_new_decision_is_in_memory_at_once(decisions, store):
    assert await action(decisions, "k_2") == "observe"
    now = time.time()
    decisions.add([ActiveDecision("k_2", "block", "a_2", now, 60.0, expires_at=now + 60)])
    assert await action(decisions, "k_2") == "block"


async def test_hanging_store_delays_no_lookup_beyond_the_limit(decisions, store, stale, caplog):
    assert await action(decisions, "k_1") == "block"
    store.works.clear()
    delays = []

    async def ask(subject, expected):
        begun = time.monotonic()
        assert await action(decisions, subject) == expected
        delays.append(time.monotonic() - begun)

    with caplog.at_level(logging.WARNING):
        await asyncio.gather(ask("k_1", "block"), *(ask(f"k_{n}", "unknown") for n in range(2, 90)))
        assert max(delays) < LOOKUP_SECONDS + NOISE
        delays.clear()
        await asyncio.gather(ask("k_1", "block"), ask("k_2", "unknown"))
        assert max(delays) < NOISE  # the circuit is open
        store.works.set()
        await until(decisions, "k_2", "observe")
    messages = [record.getMessage().partition("=")[0] for record in caplog.records]
    assert messages == ["lookups_failed reason", "lookups_back failed"]


async def test_known_block_holds_while_the_store_is_away(decisions, store, stale):
    assert await action(decisions, "k_1") == "block"
    store.away = True
    assert await action(decisions, "k_1") == "block"
    assert await action(decisions, "k_2") == "unknown"
    store.away = False
    await until(decisions, "k_2", "observe")


async def test_late_error_of_a_call_that_was_given_up_changes_nothing(decisions, store):
    store.works.clear()
    assert await action(decisions, "k_2") == "unknown"
    hanging, store.works = store.works, threading.Event()
    store.works.set()
    await until(decisions, "k_2", "observe")
    store.away = True
    hanging.set()
    await asyncio.sleep(0.1)
    store.away = False
    assert await action(decisions, "k_3") == "observe"


async def test_queue_of_waiting_lookups_is_bounded(decisions, store, monkeypatch):
    monkeypatch.setattr(module, "_MOST_PENDING", 3)
    store.works.clear()
    waiting = [asyncio.ensure_future(decisions.find([f"k_{n}"])) for n in range(4)]
    await asyncio.sleep(0.05)
    assert await action(decisions, "k_9") == "unknown"
    store.works.set()
    assert all(found.known for found in await asyncio.gather(*waiting))


async def test_unexpected_error_does_not_keep_the_circuit_open(decisions, store, monkeypatch):
    monkeypatch.setattr(store, "decisions", lambda _: 1 / 0)
    assert await action(decisions, "k_1") == "unknown"
    await asyncio.sleep(0.3)
    monkeypatch.undo()
    await until(decisions, "k_1", "block")
