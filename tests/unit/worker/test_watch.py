"""Watch on a real engine and an in-memory store; only Kafka is a stand-in, so that it can fail."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any

import msgspec
import pytest

from monitor.batch import Batch
from monitor.campaigns.fingerprint import split
from monitor.config import Settings
from monitor.engine import Engine
from monitor.errors import (
    FencedError,
    RegistryUnavailableError,
    StoreRefusedError,
    StoreUnavailableError,
)
from monitor.identity import Identity
from monitor.linker import Linker
from monitor.metrics import Metrics
from monitor.store.base import Checkpoint
from monitor.store.memory import MemoryStore
from pipelines.kafka.partitioner import partition_of
from pipelines.worker import patience
from pipelines.worker.checkpoint import FlushError
from pipelines.worker.watch import Watch
from tests.support.requests import elicitor, request
from tests.support.stores import decision_in
from tests.support.watching import (
    NAME,
    TOPIC,
    App,
    Event,
    Kafka,
    Stream,
    Unreliable,
    engine_on,
    watch_on,
)


@pytest.fixture(autouse=True)
def warnings_only(caplog: pytest.LogCaptureFixture) -> None:
    """Another test may have started a command in this process, which logs more."""
    caplog.set_level(logging.WARNING, "pipelines.worker.watch")


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


async def test_failed_produce_commits_no_offset_without_its_rows(
    kafka: Kafka, store: MemoryStore
) -> None:
    app = App(kafka)
    watch = watch_on(app, store)
    first, second = Event(0, [request("sk-1"), b"no JSON"]), Event(2, [request("sk-2")])
    kafka.refusals = 1
    await watch.observe(first)
    assert not await watch.checkpoint()
    await watch.observe(second)
    await watch.revoke()
    assert engine_on(store).assign(NAME).offset == 0
    assert store.records == {}
    assert not first.acked
    assert not second.acked
    assert [type(error) for error in app.crashes] == [FlushError]


@pytest.mark.parametrize(("redact", "values"), [(True, [b""]), (False, [b"no JSON"])])
async def test_rejected_element_is_sent_as_the_setting_says(
    kafka: Kafka, store: MemoryStore, redact: bool, values: list[bytes]
) -> None:
    topics = Settings().topics
    watch = Watch(App(kafka), engine_on(store), store, topics, TOPIC, redact=redact)
    await watch.observe(Event(0, [b"no JSON"]))
    assert [value for topic, _, value in kafka.sent if topic == topics.rejected] == values


async def test_lost_state_is_reported_and_read_again(
    kafka: Kafka, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    app, metrics = App(kafka), Metrics()
    watch = Watch(app, engine_on(store), store, Settings().topics, TOPIC, metrics=metrics)
    for start in (500, 600, 100):  # two batches were fetched before the seek
        await watch.observe(Event(start, [request(f"sk-{start}")]))
    assert await watch.checkpoint()
    assert app.sought == [100]
    assert store.records.keys() == {"sk-100"}
    assert caplog.text.count("state_lost name=requests:0 committed=500 earliest=100") == 1
    assert metrics.registry.get_sample_value("xm_state_losses_total", {"topic": TOPIC}) == 1


async def test_first_batch_at_the_beginning_of_kafka_is_no_loss(
    kafka: Kafka, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    app = App(kafka)
    watch = watch_on(app, store)
    await watch.observe(Event(100, [request("sk-1")]))
    assert await watch.checkpoint()
    assert store.records.keys() == {"sk-1"}
    assert app.sought == []
    assert "state_lost" not in caplog.text


async def test_topic_that_accepts_nothing_is_reported(
    kafka: Kafka,
    store: MemoryStore,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.1)
    watch = watch_on(App(kafka), store)
    kafka.holds = True
    await watch.observe(Event(0, [b"no JSON"]))
    writing = asyncio.ensure_future(watch.checkpoint())
    await asyncio.sleep(0.3)
    assert watch.trouble is not None
    assert "llm.requests.rejected" in watch.trouble
    kafka.release()
    assert await writing
    assert watch.trouble is None
    assert [line.split()[0] for line in caplog.messages] == ["kafka_waits", "kafka_accepts"]


async def test_outputs_count_from_the_arrival_of_the_requests(
    kafka: Kafka, store: MemoryStore
) -> None:
    arrived = float(int(time.time()) - 45)
    watch = watch_on(App(kafka), store)
    await watch.observe(Event(0, elicitor(), arrived))
    assert await watch.checkpoint()
    decision = decision_in(store, "sk-cot")
    assert decision is not None
    assert decision.until == pytest.approx(arrived + decision.duration, abs=1.0)
    assert set(kafka.timestamps[Settings().topics.fingerprints]) == {arrived}


async def test_fingerprints_of_a_batch_share_a_message_per_partition(
    kafka: Kafka, store: MemoryStore
) -> None:
    requests = [request(f"sk-{n}") for _ in range(20) for n in range(30)]
    expected = engine_on(MemoryStore())
    expected.assign(NAME)
    await watch_on(App(kafka), store).observe(Event(0, requests))
    batch = Batch(NAME, range(len(requests)), requests)
    by_partition: dict[int, list[bytes]] = {}
    for key, value in expected.observe(batch).fingerprints:
        by_partition.setdefault(partition_of(key.encode(), kafka.count), []).append(value)
    topic = Settings().topics.fingerprints
    found = {sent.partition: split(sent.value) for sent in kafka.sent if sent.topic == topic}
    assert len(found) == kafka.count
    assert found == by_partition
    assert sum(sent.topic == topic for sent in kafka.sent) == kafka.count


async def test_failed_commit_is_retried_with_everything(kafka: Kafka) -> None:
    store = Unreliable()
    watch = watch_on(App(kafka), store)
    first, second = Event(0, [request("sk-1"), b"no JSON"]), Event(2, [request("sk-2")])
    await watch.observe(first)
    store.error = StoreUnavailableError("away")
    assert not await watch.checkpoint()
    assert watch.trouble == "away"
    store.error = None
    assert await watch.checkpoint()
    await watch.observe(second)
    assert await watch.checkpoint()
    assert engine_on(store).assign(NAME).offset == 3
    assert store.records.keys() == {"sk-1", "sk-2"}
    assert first.acked
    assert second.acked
    assert watch.trouble is None


async def test_batch_waits_for_the_schema_registry(
    kafka: Kafka, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watch_on(App(kafka), store)
    observe, troubles = watch._observe, list[str | None]()

    def observe_or_fail(batch: Any) -> Any:
        troubles.append(watch.trouble)
        if len(troubles) < 3:
            raise RegistryUnavailableError("The registry is away.")
        return observe(batch)

    monkeypatch.setattr(watch, "_observe", observe_or_fail)
    await watch.observe(Event(0, [request("sk-1")]))
    assert [*troubles, watch.trouble] == [None, *["The registry is away."] * 2, None]
    assert await watch.checkpoint()
    assert store.records.keys() == {"sk-1"}


async def test_cancelled_checkpoint_is_rolled_back(kafka: Kafka, store: MemoryStore) -> None:
    watch = watch_on(App(kafka), store)
    kafka.holds = True
    await watch.observe(Event(0, [request("sk-1"), b"no JSON"]))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(watch.checkpoint(), 0.2)
    kafka.release()
    assert await watch.checkpoint()
    assert store.records.keys() == {"sk-1"}


@pytest.mark.parametrize("error", [StoreRefusedError("no permission"), FencedError("taken")])
async def test_store_error_without_remedy_stops_the_worker(kafka: Kafka, error: Exception) -> None:
    store = Unreliable()
    app = App(kafka)
    watch = watch_on(app, store)
    event = Event(0, [request("sk-1")])
    await watch.observe(event)
    store.error = error
    assert not await watch.checkpoint()
    assert app.crashes == [error]
    assert not event.acked


async def test_unknown_state_version_stops_the_worker(kafka: Kafka, store: MemoryStore) -> None:
    state = msgspec.msgpack.encode([99, 0, 0.0])
    store.commit(Checkpoint(partitions={NAME: state}))
    app = App(kafka)
    with pytest.raises(StoreRefusedError, match="version 99"):
        await watch_on(app, store).consume(Stream([Event(0, [request("sk-1")])]))
    assert [type(error) for error in app.crashes] == [StoreRefusedError]


@pytest.mark.parametrize("split", [True, False])
async def test_more_keys_than_rows_are_all_recorded(
    kafka: Kafka, store: MemoryStore, split: bool
) -> None:
    engine = engine_on(store, rows=8)
    requests = [request(f"sk-{n}") for n in range(30)]
    app = App(kafka)
    values = requests if split else [b"[" + b",".join(requests) + b"]"]
    watch = watch_on(app, store, engine)
    await watch.observe(Event(0, values))
    assert await watch.checkpoint()
    assert len(store.records) == 30
    assert len(engine.table.records) == 8
    assert not app.crashes


async def test_messages_without_key_are_counted_and_warned_of_once(
    kafka: Kafka, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    app = App(kafka)
    watch = Watch(app, engine_on(store), store, Settings().topics, TOPIC, metrics=metrics)
    await watch.observe(Event(0, [request("sk-1")]))
    assert not caplog.records
    for start in (1, 3):
        await watch.observe(Event(start, [request("sk-1"), request("sk-2")], key=None))
    assert metrics.registry.get_sample_value("xm_unkeyed_messages_total", {"topic": TOPIC}) == 4
    assert [each.getMessage().split()[0] for each in caplog.records] == ["messages_without_key"]
    assert "--rekey" in caplog.text


async def test_gauges_read_the_operator_in_its_own_thread(kafka: Kafka, store: MemoryStore) -> None:
    threads: dict[str, str] = {}

    class Traced(Engine):
        @property
        def dirty(self) -> bool:
            threads["dirty"] = threading.current_thread().name
            return super().dirty

        def open_alerts(self) -> Any:
            threads["open_alerts"] = threading.current_thread().name
            return super().open_alerts()

    engine = Traced(Settings(), Identity(b"0123456789abcdef", plain=True), store)
    watch = watch_on(App(kafka), store, engine)
    await watch.observe(Event(0, [request("sk-1")]))
    await watch.checkpoint()
    await watch.set_gauges()
    assert {name: thread.rpartition("_")[0] for name, thread in threads.items()} == {
        "dirty": "operator",
        "open_alerts": "operator",
    }


async def test_slow_lookups_do_not_delay_a_checkpoint(kafka: Kafka, store: MemoryStore) -> None:
    watch = watch_on(App(kafka), store)
    await watch.observe(Event(0, [request("sk-1")]))
    release = threading.Event()
    loop = asyncio.get_running_loop()
    slow = [loop.run_in_executor(None, release.wait) for _ in range(64)]  # the default executor
    try:
        assert await asyncio.wait_for(watch.checkpoint(), 5)
    finally:
        release.set()
        await asyncio.gather(*slow)


async def test_each_topic_has_its_own_checkpoint_gauge(kafka: Kafka, store: MemoryStore) -> None:
    metrics, topics = Metrics(), Settings().topics
    engine = engine_on(store)
    Watch(App(kafka), engine, store, topics, TOPIC, metrics=metrics)
    Watch(App(kafka), Linker(Settings(), store), store, topics, "other", metrics=metrics)
    samples = [s for family in metrics.registry.collect() for s in family.samples]
    assert {s.labels["topic"] for s in samples if s.name == "xm_checkpoint_timestamp_seconds"} == {
        TOPIC,
        "other",
    }


async def test_gauges_of_one_topic_survive_the_revocation_of_another(
    kafka: Kafka, store: MemoryStore
) -> None:
    metrics, topics = Metrics(), Settings().topics
    watch = Watch(App(kafka), engine_on(store), store, topics, TOPIC, metrics=metrics)
    other = Watch(App(kafka), Linker(Settings(), store), store, topics, "other", metrics=metrics)
    await watch.observe(Event(0, [request("sk-1")]))
    await watch.set_gauges()
    await other.revoke()
    lag = {"topic": TOPIC, "partition": "0"}
    assert metrics.registry.get_sample_value("xm_lag", lag) == 0.0
    await watch.revoke()
    assert metrics.registry.get_sample_value("xm_lag", lag) is None
