import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import CollectorRegistry

from monitor.alerting.decisions import Decision
from monitor.errors import StoreUnavailableError
from monitor.metrics import Metrics
from monitor.store.base import Checkpoint
from monitor.store.memory import MemoryStore
from pipelines.worker import web
from pipelines.worker.web import DecisionLookup, api_key_in

BLOCK = Decision("k_1", "block", "a_1", made_at=1.0, seconds=60.0)


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"X-API-Key": "sk-1"}, "sk-1"),
        ({"Authorization": "Bearer sk-1"}, "sk-1"),
        ({"Authorization": "bearer  sk-1 "}, "sk-1"),
        ({"X-API-Key": "sk-1", "Authorization": "Bearer sk-2"}, "sk-1"),
        ({"Authorization": "Basic c2s="}, None),
        ({"Authorization": "Bearer"}, None),
        ({}, None),
    ],
)
def test_key_is_read_from_either_header(headers, key):
    assert api_key_in(headers) == key


class Store(MemoryStore):
    """A store with a decision, which is down at times."""

    def __init__(self):
        super().__init__()
        self.commit(Checkpoint(decisions=[BLOCK]))
        self.down = False

    def decision(self, key):
        if self.down:
            raise StoreUnavailableError("Redis is away.")
        return super().decision(key)


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def metrics():
    return Metrics(CollectorRegistry())


@pytest.fixture
def lookup(store, metrics):
    with ThreadPoolExecutor(2) as threads:
        yield DecisionLookup(store, threads, metrics)


def counted(metrics, action):
    return metrics.registry.get_sample_value("xm_decision_lookups_total", {"action": action})


async def test_lookup_returns_and_counts_the_action(lookup, metrics):
    assert [await lookup(key) for key in ("k_1", "k_2")] == ["block", "observe"]
    assert [counted(metrics, action) for action in ("block", "observe", "unknown")] == [1, 1, 0]


async def test_lookups_use_no_thread_but_their_own(store, metrics, monkeypatch):
    found = []
    monkeypatch.setattr(store, "decision", lambda _: found.append(threading.current_thread().name))
    with ThreadPoolExecutor(1, "lookup") as one:
        await DecisionLookup(store, one, metrics)("k_1")
    assert found == ["lookup_0"]


async def test_failed_lookups_are_counted_and_logged_once(
    lookup, store, metrics, caplog, monkeypatch
):
    monkeypatch.setattr(web, "_CALM", 0.0)
    store.down = True
    with caplog.at_level(logging.WARNING):
        assert [await lookup("k_1") for _ in range(100)] == [None] * 100
        store.down = False
        assert await lookup("k_1") == "block"
    assert counted(metrics, "unknown") == 100
    assert [record.getMessage() for record in caplog.records] == [
        "lookups_failed reason='Redis is away.'",
        "lookups_back failed=100",
    ]


async def test_lookup_is_answered_at_once_while_many_wait(store, metrics, monkeypatch):
    monkeypatch.setattr(web, "_MOST_PENDING", 3)
    answers = threading.Event()
    monkeypatch.setattr(store, "decision", lambda _key: answers.wait() and None)
    with ThreadPoolExecutor(1) as one:
        lookup = DecisionLookup(store, one, metrics)
        waiting = [asyncio.ensure_future(lookup("k_1")) for _ in range(3)]
        await asyncio.sleep(0)
        assert await lookup("k_1") is None
        answers.set()
        assert await asyncio.gather(*waiting) == ["observe"] * 3
