from __future__ import annotations

import gzip
import json
import os
import random
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from monitor.errors import InputError
from pipelines.demo import embedded
from pipelines.traffic.producer import DeliveryError, Message, SendSchedule, Sent, send, send_file
from tests.support import servers
from tests.support.apps import new_topic

NOON = 1_772_020_800.0
PARTITIONS = 4


async def read(kafka: str, topic: str, partitions: int = PARTITIONS) -> list[Any]:
    """Every record of the topic, in order within its partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(places)
        records: list[Any] = []
        for place, end in (await consumer.end_offsets(places)).items():
            while await consumer.position(place) < end:
                records += (await consumer.getmany(place, timeout_ms=1_000)).get(place, [])
        return records
    finally:
        await consumer.stop()


def write(path: Path, lines: Iterable[bytes]) -> Path:
    path.write_bytes(b"\n".join(lines))
    return path


def event(key: str, number: int, **more: object) -> bytes:
    return json.dumps({"ts": NOON + number, "api_key": key, "n": number, **more}).encode()


class FakeClock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.time = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


async def test_lines_arrive_in_order_per_key(kafka: str, tmp_path: Path) -> None:
    choose = random.Random(1)
    lines = [event(f"key-{choose.randrange(50)}", n, prompt="x" * n) for n in range(3_000)]
    topic = new_topic(kafka, PARTITIONS)
    sent = await send_file(write(tmp_path / "day.jsonl", lines), kafka, topic)
    assert sent == Sent(handed=3_000, acknowledged=3_000)
    wanted, found = defaultdict(list), defaultdict(list)
    for line in lines:
        wanted[json.loads(line)["api_key"].encode()].append(line)
    for record in await read(kafka, topic):
        found[record.key].append(record.value)
    assert found == wanted


async def test_partition_is_that_of_java_clients(kafka: str) -> None:
    hashes = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    topic = new_topic(kafka, PARTITIONS)
    await send([[Message(key, b"{}") for key in hashes]], kafka, topic)
    records = await read(kafka, topic)
    assert {r.key: r.partition for r in records} == {
        key: (number & 0x7FFFFFFF) % 4 for key, number in hashes.items()
    }


async def test_line_without_a_key_is_sent_and_a_blank_one_skipped(
    kafka: str, tmp_path: Path
) -> None:
    topic = new_topic(kafka, PARTITIONS)
    lines = [b"{not json", b"", b" \r", event("k", 1), b'{"ts": 1772020800}', b"\xff"]
    sent = await send_file(write(tmp_path / "odd.jsonl", lines), kafka, topic)
    assert sent == Sent(handed=4, acknowledged=4, keyless=3)
    records = await read(kafka, topic)
    assert {(r.key, r.value) for r in records} == {
        (None, lines[0]), (b"k", lines[3]), (None, lines[4]), (None, lines[5]),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"account": "a", "payment": "p"}, b"a"),
        ({"account": "", "payment": "p"}, b"p"),
        ({"payment": None}, b"k"),
        ({"account": 7}, b"7"),
    ],
)
async def test_key_is_the_account_else_the_payment_else_the_api_key(
    kafka: str, tmp_path: Path, more: dict[str, object], key: bytes
) -> None:
    topic = new_topic(kafka, PARTITIONS)
    await send_file(write(tmp_path / "one.jsonl", [event("k", 1, **more)]), kafka, topic)
    assert [r.key for r in await read(kafka, topic)] == [key]


@pytest.mark.parametrize(
    ("mapping", "line"),
    [
        ("native", b'[{"ts": 1772020800, "api_key": "k"}, {"ts": 1772020801, "api_key": "k"}]'),
        ("native", b'{"ts": "2026-02-25T12:00:00Z", "api_key": "k"}'),
        ("native", b'{"ts": "1772020800", "api_key": "k", "temperature": NaN}'),
        ({"ts": "/when", "api_key": "/who/key"}, b'{"when": 1772020800, "who": {"key": "k"}}'),
    ],
)
async def test_producer_and_worker_find_the_same_key_and_time(
    kafka: str, tmp_path: Path, mapping: str | dict[str, str], line: bytes
) -> None:
    topic, clock = new_topic(kafka, PARTITIONS), FakeClock()
    schedule = SendSchedule(speed=60, clock=clock, sleep=clock.sleep)
    early = line.replace(b"17720208", b"17720202").replace(b"12:00", b"11:50")
    path = write(tmp_path / "day.jsonl", [early, line])
    assert (await send_file(path, kafka, topic, mapping=mapping, schedule=schedule)).keyless == 0
    assert {r.key for r in await read(kafka, topic)} == {b"k"}
    assert clock.slept == [pytest.approx(10)]


async def test_speed_60_sends_an_hour_in_a_minute(kafka: str, tmp_path: Path) -> None:
    clock = FakeClock()
    path = write(tmp_path / "hour.jsonl", [event("k", n) for n in range(0, 3_601, 10)])
    schedule = SendSchedule(speed=60, clock=clock, sleep=clock.sleep)
    await send_file(path, kafka, new_topic(kafka, PARTITIONS), schedule=schedule)
    assert clock.time == pytest.approx(160, abs=0.1)


async def test_rate_500_sends_1000_messages_in_two_seconds(kafka: str) -> None:
    clock = FakeClock()
    schedule = SendSchedule(rate=500, clock=clock, sleep=clock.sleep)
    await send(
        [[Message(None, b"{}")] * 1_001], kafka, new_topic(kafka, PARTITIONS), schedule=schedule
    )
    assert clock.time == pytest.approx(102, abs=0.1)


def test_schedule_does_not_wait_for_late_messages() -> None:
    clock = FakeClock()
    schedule = SendSchedule(speed=1, clock=clock, sleep=clock.sleep)
    assert [schedule.delay(NOON + late) for late in (0, 5, 2, 6)] == pytest.approx([0, 5, 2, 6])


def test_schedule_skips_gaps_of_more_than_a_day() -> None:
    clock = FakeClock()
    schedule = SendSchedule(speed=60, clock=clock, sleep=clock.sleep)
    days = [0.0, NOON, NOON * 2, NOON, NOON + 100_000, NOON + 100_060]
    assert [schedule.delay(ts) for ts in days] == pytest.approx([0, 0, 0, 0, 0, 1])


async def test_open_batch_is_sent_while_the_next_line_is_awaited(kafka: str) -> None:
    topic, seen = new_topic(kafka, PARTITIONS), threading.Event()

    def source() -> Iterator[list[Message]]:
        yield [Message(b"k", b"first")]
        assert seen.wait(30), "the first message did not come while the second was not there"
        yield [Message(b"k", b"second")]

    def note_progress(sent: Sent) -> None:
        if sent.acknowledged:
            seen.set()

    assert (await send(source(), kafka, topic, on_progress=note_progress)).acknowledged == 2


async def test_progress_ends_with_everything_acknowledged(kafka: str, tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(event("k", n) for n in range(5_000))))
    steps: list[tuple[int, int]] = []
    await send_file(
        path,
        kafka,
        new_topic(kafka, PARTITIONS),
        on_progress=lambda sent, file: steps.append((sent.acknowledged, file.position)),
    )
    assert steps == sorted(steps)
    assert steps[-1] == (5_000, path.stat().st_size)


async def test_truncated_file_is_sent_up_to_its_end(kafka: str, tmp_path: Path) -> None:
    path, topic = tmp_path / "cut.gz", new_topic(kafka, PARTITIONS)
    lines = [event("k", n, prompt=random.Random(n).randbytes(99).hex()) for n in range(999)]
    path.write_bytes(gzip.compress(b"\n".join(lines))[:-20_000])
    with pytest.raises(InputError, match=r"after line \d+: its gzip data is cut off"):
        await send_file(path, kafka, topic)
    found = [record.value for record in await read(kafka, topic)]
    assert len(found) > 500
    assert found == lines[: len(found)]


async def test_dead_broker_error_has_the_acknowledged_count() -> None:
    acknowledged = threading.Event()
    broker = embedded.broker()
    kafka = broker.__enter__()

    def source() -> Iterator[list[Message]]:
        yield [Message(b"k", b"{}")] * 100
        acknowledged.wait(30)
        broker.__exit__(None, None, None)
        yield [Message(b"k", b"{}")] * 100

    def note_progress(sent: Sent) -> None:
        if sent.acknowledged == 100:
            acknowledged.set()

    with pytest.raises(DeliveryError, match="after acknowledging 100: check that it runs"):
        await send(
            source(), kafka, new_topic(kafka, PARTITIONS), patience=2, on_progress=note_progress
        )


async def test_missing_broker_is_one_sentence() -> None:
    address = f"127.0.0.1:{embedded.free_port()}"
    with pytest.raises(DeliveryError, match=f"Kafka at {address} does not answer .* start it, or"):
        await send([[Message(b"k", b"{}")]], address, "topic")


async def test_missing_topic_is_one_sentence(apache_kafka: servers.Kafka) -> None:
    with pytest.raises(DeliveryError, match="no topic absent: create it with"):
        await send([[Message(b"k", b"{}")]], apache_kafka.address, "absent")


async def test_too_large_message_is_counted_and_others_arrive(
    apache_kafka: servers.Kafka,
) -> None:
    topic = new_topic(apache_kafka.address, PARTITIONS)
    values = [b"before", os.urandom(3_000_000), b"after"]
    messages = [Message(b"k", value) for value in values]
    sent = await send([messages], apache_kafka.address, topic)
    assert sent == Sent(handed=3, acknowledged=2, refused=1)
    assert [r.value for r in await read(apache_kafka.address, topic)] == [b"before", b"after"]
