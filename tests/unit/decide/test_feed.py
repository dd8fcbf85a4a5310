from __future__ import annotations

import asyncio
import json
import time

import msgspec
import pytest

from monitor.alerting.enforcement import Allowance, Switch
from pipelines.decide import feed as module
from pipelines.decide.copy import DecisionCopy, Entry
from pipelines.decide.feed import ChangeFeed
from tests.support.decisions import decide_on, loaded_copy


@pytest.fixture
def copy():
    return loaded_copy()


@pytest.fixture
async def feed(copy):
    feed = ChangeFeed(copy)
    yield feed
    await feed.close()


class Client:
    """Follows a feed and keeps what applies, as a gateway does."""

    def __init__(self, feed, last_id=None):
        self.applies, self.events, self.last_id = {}, [], last_id
        self.shadow = None
        self._task = asyncio.ensure_future(self._follow(feed.follow(last_id)))

    async def _follow(self, chunks):
        async for chunk in chunks:
            for event in chunk.decode().split("\n\n")[:-1]:
                if not event.startswith(":"):
                    self._take(dict(line.split(": ", 1) for line in event.split("\n")))

    def _take(self, event):
        self.last_id, data = event["id"], json.loads(event["data"])
        self.events.append(event["event"])
        if event["event"] == "reset":
            self.applies.clear()
        elif event["event"] == "ready":
            self.shadow = data["shadow"]
        elif event["event"] == "stale":
            return
        elif data["decision"] == "observe":
            self.applies.pop(data["subject"], None)
        else:
            self.applies[data["subject"]] = data

    async def until(self, expected):
        await until(lambda: self.actions == expected and "ready" in self.events)

    @property
    def actions(self):
        return {subject: each["decision"] for subject, each in self.applies.items()}

    def leave(self):
        self._task.cancel()


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def switch(copy, name, on, **fields):
    value = msgspec.json.encode(Switch(on, "alice", "test", time.time(), **fields))
    copy.apply([Entry(f"xm:control:{name}", value)], copy.position)


async def test_client_gets_the_state_then_changes(feed, copy):
    decide_on(copy, "k_1", "block")
    client = Client(feed)
    await client.until({"k_1": "block"})
    decide_on(copy, "k_2", "throttle", rate=6.0)
    await client.until({"k_1": "block", "k_2": "throttle"})
    assert client.applies["k_2"]["rate"] == 6.0
    copy.apply([Entry("xm:d:k_1", b"")], "9-0")
    await client.until({"k_2": "throttle"})
    assert client.last_id == "9-0"


async def test_event_says_how_the_decision_leads_down(feed, copy):
    now = time.time()
    decide_on(copy, "k_1", "block", steps=(("throttle", 30.0),), expires_at=now + 90)
    client = Client(feed)
    await client.until({"k_1": "block"})
    (first, first_end), (second, second_end) = client.applies["k_1"]["steps"]
    assert (first, second) == ("block", "throttle")
    assert first_end == pytest.approx(now + 60, abs=1)
    assert second_end == client.applies["k_1"]["until"] == pytest.approx(now + 90, abs=1)


async def test_steps_join_the_decisions_of_several_origins(feed, copy):
    now = time.time()
    decide_on(copy, "k_1", "block")
    decide_on(copy, "campaign:k_1", "challenge", origin="campaign", key="k_1", expires_at=now + 99)
    client = Client(feed)
    await client.until({"k_1": "block"})
    assert [action for action, _ in client.applies["k_1"]["steps"]] == ["block", "challenge"]


async def test_client_that_comes_back_gets_what_it_missed(feed, copy):
    decide_on(copy, "k_1", "block")
    client = Client(feed)
    await client.until({"k_1": "block"})
    client.leave()
    decide_on(copy, "k_2", "block")
    again = Client(feed, client.last_id)
    await again.until({"k_1": "block", "k_2": "block"})
    assert "reset" not in again.events


@pytest.mark.parametrize("last_id", ["0-0", "99-0", "junk", ""])
async def test_client_with_an_unknown_position_gets_everything(feed, copy, last_id):
    copy.origin = "1-0"
    decide_on(copy, "k_1", "block")
    decide_on(copy, "k_2", "block")
    client = Client(feed, last_id)
    await client.until({"k_1": "block", "k_2": "block"})
    assert client.events[0] == "reset"


async def test_client_that_was_away_for_too_long_gets_everything(copy):
    feed = ChangeFeed(copy, kept=3)
    decide_on(copy, "k_0", "block")
    client = Client(feed)
    await client.until({"k_0": "block"})
    client.leave()
    for n in range(1, 6):
        decide_on(copy, f"k_{n}", "block")
    later = Client(feed)
    await later.until({f"k_{n}": "block" for n in range(6)})
    again = Client(feed, client.last_id)
    await again.until({f"k_{n}": "block" for n in range(6)})
    assert again.events[0] == "reset"


@pytest.mark.parametrize("name", ["kill", "shadow"])
async def test_switch_ends_and_restores_all_decisions(feed, copy, name):
    for n in range(1_000):
        decide_on(copy, f"k_{n}", "block")
    everything = {f"k_{n}": "block" for n in range(1_000)}
    client = Client(feed)
    await client.until(everything)
    assert client.shadow is False
    switch(copy, name, True)
    await client.until({})
    await until(lambda: client.shadow)
    switch(copy, name, False)
    await client.until(everything)


async def test_switch_without_decisions_is_published(feed, copy):
    client = Client(feed)
    await client.until({})
    switch(copy, "kill", True)
    await until(lambda: client.shadow)


async def test_switch_that_ends_by_itself_restores_decisions(feed, copy):
    decide_on(copy, "k_1", "block")
    switch(copy, "kill", True, until=time.time() + 0.3)
    client = Client(feed)
    await client.until({"k_1": "block"})
    assert client.events.count("ready") >= 1


async def test_allowance_lifts_a_decision_until_it_ends(feed, copy):
    decide_on(copy, "k_1", "block", ties=("a_1",))
    client = Client(feed)
    await client.until({"k_1": "block"})
    now = time.time()
    entry = Allowance("a_1", "sales", "alice", "test", now, now + 0.5)
    copy.apply([Entry("xm:allow:a_1", msgspec.json.encode(entry))], copy.position)
    await client.until({})
    await client.until({"k_1": "block"})


async def test_decision_in_shadow_mode_is_not_published():
    copy = loaded_copy(shadow=True)
    feed = ChangeFeed(copy)
    decide_on(copy, "k_1", "block")
    client = Client(feed)
    await client.until({})
    assert client.shadow is True
    assert client.events == ["reset", "ready"]


async def test_client_hears_when_the_copy_is_stale_and_when_it_is_not(copy, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.01)
    feed = ChangeFeed(copy, stale_seconds=0.5)
    decide_on(copy, "k_1", "block")
    client = Client(feed)
    await client.until({"k_1": "block"})
    await until(lambda: "stale" in client.events)
    ready = client.events.count("ready")
    copy.confirm()
    await until(lambda: client.events.count("ready") > ready)
    assert client.actions == {"k_1": "block"}


async def test_client_waits_for_the_first_copy(monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.05)
    copy = DecisionCopy(shadow=False)
    feed = ChangeFeed(copy)
    chunks = feed.follow(None)
    assert await anext(chunks) == b":\n\n"
    copy.load({}, copy.control, "5-0")
    async with asyncio.timeout(10):
        while (chunk := await anext(chunks)) == b":\n\n":
            pass
    assert chunk == b"id: 5-0\nevent: reset\ndata: {}\n\n"
