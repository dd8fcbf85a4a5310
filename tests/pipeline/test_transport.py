"""The batch transport against a real broker."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaProducer
from faust.types import TP

from tests.support import servers
from tests.support.apps import (
    SETTINGS,
    batch_app,
    committed,
    fill,
    fresh,
    keep_events,
    new_topic,
    offsets,
    running,
    until,
)


async def test_agents_get_what_a_stock_app_gets(kafka: str) -> None:
    topic = new_topic(kafka, partitions=3)
    for partition in range(3):
        await fill(kafka, topic, 200 + partition, partition=partition)
    stock = faust.App(
        fresh("group"), broker=f"kafka://{kafka}", **SETTINGS | {"Schema": faust.Schema}
    )
    seen: list[tuple[Any, ...]] = []

    @stock.agent(stock.topic(topic, key_serializer="raw", value_serializer="raw"))
    async def note(stream: Any) -> None:
        async for event in stream.events():
            m = event.message
            seen.append((m.partition, m.offset, m.timestamp, m.value))

    batched = batch_app(kafka, fresh("group"))
    events = keep_events(batched, topic)
    async with running(stock, batched):
        await until(lambda: len(seen) == 603 and sum(len(e.value) for e in events) == 603)
    for partition in range(3):
        assert [
            (partition, offset, milliseconds / 1000, value)
            for event in events
            if event.message.partition == partition
            for offset, milliseconds, value in zip(
                event.value.offsets.tolist(),
                event.value.timestamps.tolist(),
                list(event.value.values),
                strict=True,
            )
        ] == [record for record in seen if record[0] == partition]


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
async def test_compressed_and_empty_records_arrive(kafka: str, compression: str | None) -> None:
    topic = new_topic(kafka)
    values = [b"value %d" % i * 9 if i % 10 else None for i in range(100)]
    producer = AIOKafkaProducer(bootstrap_servers=kafka, linger_ms=20, compression_type=compression)
    await producer.start()
    await asyncio.gather(
        *[await producer.send(topic, each, b"key", headers=[("trace", b"1")]) for each in values]
    )
    await producer.stop()
    app = batch_app(kafka, fresh("group"))
    events = keep_events(app, topic)
    async with running(app):
        await until(lambda: len(offsets(events)) == 100)
    assert [value for event in events for value in event.value.values] == values


async def test_commit_waits_for_earlier_batches(
    kafka: str,
) -> None:
    topic, group = new_topic(kafka), fresh("group")
    await fill(kafka, topic, 40)
    app = batch_app(kafka, group, broker_max_poll_records=10)
    events = keep_events(app, topic)
    async with running(app):
        await until(lambda: len(events) == 4)
        events[2].ack()
        events[1].ack()
        await app.consumer.commit()
        assert await committed(kafka, group, topic) is None
        events[0].ack()
        await app.consumer.commit()
        assert await committed(kafka, group, topic) == 30


async def test_restart_resumes_at_the_first_unacknowledged_batch(kafka: str) -> None:
    topic, group = new_topic(kafka), fresh("group")
    await fill(kafka, topic, 50)
    app = batch_app(kafka, group, broker_max_poll_records=10)
    events = keep_events(app, topic)
    async with running(app):
        await until(lambda: len(events) == 5)
        for index in (0, 1, 3):
            events[index].ack()
        began = time.monotonic()
    assert time.monotonic() - began < 10
    again = batch_app(kafka, group)
    events = keep_events(again, topic)
    async with running(again):
        await until(lambda: events)
        assert offsets(events)[0] == 20


async def test_faust_acknowledges_for_agents_that_do_not(
    kafka: str,
) -> None:
    topic, group = new_topic(kafka), fresh("group")
    await fill(kafka, topic, 30)
    app = batch_app(kafka, group)
    done: list[int] = []

    @app.agent(app.topic(topic))
    async def count(stream: Any) -> None:
        async for records in stream:
            done.extend(records.offsets.tolist())

    async with running(app):
        await until(lambda: len(done) == 30)
    assert await committed(kafka, group, topic) == 30


async def test_stuck_agent_buffers_little_and_blocks_no_other(
    kafka: str,
) -> None:
    stuck, flowing = new_topic(kafka, partitions=2), new_topic(kafka)
    for partition in (0, 1):
        await fill(kafka, stuck, 200, partition)
    app = batch_app(kafka, fresh("group"), broker_max_poll_records=10, stream_buffer_maxsize=4)
    freed, late = asyncio.Event(), []

    @app.agent(app.topic(stuck))
    async def wait(stream: Any) -> None:
        async for event in stream.noack().events():
            await freed.wait()
            late.append(event)

    events = keep_events(app, flowing)
    async with running(app):
        for records in (300, 600):  # the second when the stuck agent's queue has long been full
            await fill(kafka, flowing, 300)
            await until(lambda records=records: len(offsets(events)) == records)
        in_hand, in_queue, fetched = 1, 4, 2
        taken = sum([await app.consumer.position(TP(stuck, each)) for each in (0, 1)])
        assert taken <= (in_hand + in_queue + fetched) * 10
        freed.set()
        await until(lambda: len(late) == 40)
    for partition in (0, 1):
        assert offsets(late, partition) == list(range(200))


async def test_slow_agent_gets_every_record_in_order(kafka: str) -> None:
    topic = new_topic(kafka)
    await fill(kafka, topic, 1_000)
    app = batch_app(kafka, fresh("group"), broker_max_poll_records=10, stream_buffer_maxsize=2)
    seen: list[int] = []

    @app.agent(app.topic(topic))
    async def crawl(stream: Any) -> None:
        async for records in stream:
            await asyncio.sleep(0.01)
            seen.extend(records.offsets.tolist())

    async with running(app):
        await until(lambda: len(seen) >= 1_000)
    assert seen == list(range(1_000))


async def test_paused_partition_resumes_where_it_was(kafka: str) -> None:
    topic = new_topic(kafka, partitions=2)
    app = batch_app(kafka, fresh("group"), broker_max_poll_records=10)
    events = keep_events(app, topic)
    paused = {TP(topic, 0)}
    async with running(app):
        await fill(kafka, topic, 10)
        await until(lambda: events)
        filling = asyncio.gather(
            *(fill(kafka, topic, 400, partition=partition) for partition in (0, 1))
        )
        for _ in range(20):
            app.consumer.pause_partitions(paused)
            before = len(offsets(events, partition=0))
            await asyncio.sleep(0.03)
            assert len(offsets(events, partition=0)) <= before + 10
            app.consumer.resume_partitions(paused)
            await asyncio.sleep(0.01)
        await filling
        await until(lambda: len(offsets(events)) >= 410 and len(offsets(events, 1)) >= 400)
    assert offsets(events) == list(range(410))


async def test_acknowledgement_from_before_a_seek_is_ignored(kafka: str) -> None:
    topic, group = new_topic(kafka), fresh("group")
    await fill(kafka, topic, 30)
    app = batch_app(kafka, group, broker_max_poll_records=10)
    events = keep_events(app, topic)
    async with running(app):
        await until(lambda: len(events) == 3)
        await app.consumer.seek(TP(topic, 0), 0)
        await until(lambda: len(events) == 6)
        for event in events[:3]:
            event.ack()
        await app.consumer.commit()
        assert await committed(kafka, group, topic) is None
        events[3].ack()
        await app.consumer.commit()
        assert await committed(kafka, group, topic) == 10
    assert offsets(events) == [*range(30), *range(30)]


async def send_transaction(kafka: str, topic: str, values: list[bytes], *, commit: bool) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=fresh("producer"))
    await producer.start()
    await producer.begin_transaction()
    for value in values:
        await producer.send_and_wait(topic, value, partition=0)
    await (producer.commit_transaction() if commit else producer.abort_transaction())
    await producer.stop()


async def test_partition_without_a_position_has_a_lag(kafka: str) -> None:
    topic = new_topic(kafka)
    await fill(kafka, topic, 10)
    app = batch_app(kafka, fresh("group"))
    events = keep_events(app, topic)
    async with running(app):
        await until(lambda: events)
        tp = TP(topic, 0)
        consumer = app.consumer._thread._ensure_consumer()
        state = consumer._subscription.subscription.assignment.state_value(tp)
        state.await_reset(0)  # as right after a rebalance
        assert app.consumer.lag(tp, 10) == 0


async def test_aborted_transactions_do_not_count_and_lag_ends(
    apache_kafka: servers.Kafka,
) -> None:
    kafka = apache_kafka.address
    topic = new_topic(kafka)
    tp = TP(topic, 0)
    await send_transaction(kafka, topic, [b"a", b"b"], commit=True)
    await send_transaction(kafka, topic, [b"lost"] * 3, commit=False)
    await send_transaction(kafka, topic, [b"c"], commit=True)
    app = batch_app(kafka, fresh("group"))
    events = keep_events(app, topic)
    async with running(app):
        await until(lambda: len(offsets(events)) == 3)
        assert [value for event in events for value in event.value.values] == [b"a", b"b", b"c"]
        observed = offsets(events)[-1] + 1
        await until(lambda: app.consumer.lag(tp, observed) == 0)
        assert app.consumer.lag(tp, offsets(events)[0]) > 0
