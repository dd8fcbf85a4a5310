"""The follower, on a store in memory that fails as Redis does."""

import asyncio
import threading

import pytest

from monitor.alerting.enforcement import Control
from monitor.errors import StoreRefusedError, StoreUnavailableError
from monitor.store.feed import Entry, Feed
from pipelines.decide import follower as module
from pipelines.decide.copy import DecisionCopy
from pipelines.decide.follower import Follower


class Store:
    """A feed of switches."""

    def __init__(self):
        self.server = None
        self.error = None
        self.lost = False
        self.reads = 0
        self._entries = []
        self._wake = threading.Condition()

    def add(self, name, value):
        with self._wake:
            self._entries.append(Entry(f"{len(self._entries) + 1}-0", name, value))
            self._wake.notify_all()

    def position(self):
        self._fail()
        return f"{len(self._entries)}-0"

    def read(self):
        self._fail()
        self.reads += 1
        control = Control()
        for _, name, value in self._entries:
            control = control.apply(name, value)
        return control

    def feed(self, after, block_ms):
        begin = int(after.partition("-")[0])
        with self._wake:
            self._wake.wait_for(lambda: len(self._entries) > begin, block_ms / 1000)
        self._fail()
        lost, self.lost = self.lost, False
        return Feed([] if lost else self._entries[begin:], lost)

    def _fail(self):
        if self.error:
            raise self.error


KILL = b'{"on": true, "who": "alice", "why": "test", "at": 0}'


@pytest.fixture
def store(monkeypatch):
    monkeypatch.setattr(module, "decisions", lambda server: [])
    monkeypatch.setattr(module, "_BLOCK_MILLISECONDS", 50)
    return Store()


@pytest.fixture
async def copy(store):
    copy = DecisionCopy(shadow=False)
    follower = Follower(store, copy)
    follower.start()
    yield copy
    follower.stop()


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_changes_arrive_in_the_copy(copy, store):
    await until(lambda: copy.loaded)
    store.add("xm:control:kill", KILL)
    await until(lambda: copy.passes_all)
    assert copy.position == "1-0"
    store.add("xm:control:kill", b"")
    await until(lambda: not copy.passes_all)
    assert store.reads == 1


async def test_lost_entries_are_read_again(copy, store, caplog):
    await until(lambda: copy.loaded)
    store.lost = True
    store.add("xm:control:kill", KILL)
    await until(lambda: copy.passes_all)
    assert store.reads == 2
    assert "feed_gap" in caplog.text


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), StoreRefusedError("refused")])
async def test_copy_holds_while_the_store_fails_and_recovers(copy, store, caplog, error):
    store.add("xm:control:kill", KILL)
    await until(lambda: copy.passes_all)
    store.error = error
    await until(lambda: copy.age > 0.5)
    assert copy.passes_all
    store.add("xm:control:kill", b"")
    store.error = None
    await until(lambda: not copy.passes_all)
    events = [record.getMessage().split()[0] for record in caplog.records]
    assert events == ["decisions_stale", "decisions_back"]


async def test_unreadable_switch_leads_to_another_reading(copy, store, monkeypatch):
    await until(lambda: copy.loaded)
    monkeypatch.setattr(store, "read", lambda: Control())
    store.add("xm:control:kill", b"[]")
    await until(lambda: copy.position == "1-0")
    assert not copy.passes_all


async def test_everything_is_read_again_after_a_while(copy, store, monkeypatch):
    monkeypatch.setattr(module, "_RELOAD_SECONDS", 0.1)
    await until(lambda: copy.loaded)
    store.error = StoreUnavailableError("away")
    await asyncio.sleep(0.2)
    store.error = None
    await until(lambda: store.reads >= 4)
