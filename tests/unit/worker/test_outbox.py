import asyncio
import json
import time

import pytest
import redis

from monitor.alerting.decisions import Decision
from monitor.config import Settings
from monitor.store.base import Checkpoint
from monitor.store.control import ControlStore
from monitor.store.redis import RedisStore
from pipelines.worker.outbox import Outbox

KEY, OTHER = "k_" + "1" * 24, "k_" + "2" * 24
BY = {"who": "ann", "why": "INC-7"}
BLOCK = Decision(KEY, "block", "a_1", 0.0, 600.0, kind="elicitation")


class App:
    """A Faust app whose producer keeps what is sent, or refuses it."""

    should_stop = False

    def __init__(self):
        self.sent, self.refuses = [], False

    async def maybe_start_producer(self):
        return self

    async def send(self, topic, key, value, *_):
        done = asyncio.get_running_loop().create_future()
        if self.refuses:
            done.set_exception(RuntimeError("refused"))
        else:
            self.sent.append((topic, key.decode(), json.loads(value) if value else None))
            done.set_result(None)
        return done

    def state(self):
        """The last message about each subject."""
        decisions = [each for each in self.sent if each[0] == "extraction.decisions"]
        return {key: value["decision"] if value else None for _, key, value in decisions}


@pytest.fixture
def app():
    return App()


@pytest.fixture
def control(redis_url):
    return ControlStore(redis_url)


@pytest.fixture
def store(redis_url):
    return RedisStore(redis_url, 100)


@pytest.fixture
def outbox(app, store, control):
    return Outbox(app, Settings(decisions={"shadow": False}), store, control)


async def test_outbox_sends_each_change_once(app, outbox, store, control):
    store.commit(Checkpoint(decisions=[BLOCK]))
    await outbox.copy()
    assert app.state() == {KEY: "block"}
    app.sent.clear()
    await outbox.copy()
    assert app.sent == []
    control.decide(KEY, "throttle", 60.0, **BY)
    await outbox.copy()
    assert [topic for topic, *_ in app.sent] == ["extraction.audit", "extraction.decisions"]
    assert app.state() == {KEY: "throttle"}


async def test_outbox_sends_what_kafka_refused_again(app, outbox, store, control):
    store.commit(Checkpoint(decisions=[BLOCK]))
    change = control.decide(OTHER, "observe", 60.0, **BY)
    app.refuses = True
    with pytest.raises(RuntimeError):
        await outbox.copy()
    app.refuses = False
    await outbox.copy()
    assert app.state() == {KEY: "block", OTHER: "observe"}
    assert [value["id"] for topic, _, value in app.sent if topic == "extraction.audit"] == [
        change.id
    ]


async def test_outbox_sends_deletions_beside_a_switch(app, outbox, store, control):
    store.commit(Checkpoint(decisions=[BLOCK]))
    await outbox.copy()
    control.delete(KEY, **BY)
    control.switch("kill", True, **BY)
    await outbox.copy()
    assert app.state() == {KEY: None}


async def test_outbox_sends_all_again_when_a_switch_ends(app, outbox, store, control):
    store.commit(Checkpoint(decisions=[BLOCK]))
    control.switch("kill", True, **BY, until=time.time() + 1.5)
    await outbox.copy()
    assert app.state() == {KEY: "observe"}
    deadline = time.monotonic() + 60
    while app.state() != {KEY: "block"}:
        assert time.monotonic() < deadline
        await outbox.copy()


async def test_outbox_sends_nothing_in_another_workers_turn(app, outbox, store, control):
    await Outbox(App(), Settings(), store, control).copy()
    store.commit(Checkpoint(decisions=[BLOCK]))
    await outbox.copy()
    assert app.sent == []


async def test_outbox_goes_on_after_a_failure(app, outbox, store, caplog, redis_url):
    async def sleep(_):
        app.refuses, app.should_stop = False, bool(app.sent)

    store.commit(Checkpoint(decisions=[BLOCK]))
    app.refuses, app.sleep = True, sleep
    await outbox.run()
    assert app.state() == {KEY: "block"}
    assert [record.getMessage().split()[0] for record in caplog.records] == [
        "outbox_failed",
        "outbox_back",
    ]


async def test_outbox_reads_changes_of_newer_versions(app, outbox, control, redis_url):
    control.switch("kill", True, **BY)
    with redis.from_url(redis_url) as client:
        ((_, fields),) = client.xrange("xm:audit")
        newer = json.loads(fields[b"change"]) | {"what": "forgive", "id": "o_2", "more": 1}
        client.xadd("xm:audit", {"change": json.dumps(newer)})
    await outbox.copy()
    assert [value["what"] for topic, _, value in app.sent if topic == "extraction.audit"] == [
        "kill",
        "forgive",
    ]
    assert [each.what for each in control.audit()] == ["kill", "forgive"]
