"""Workers on the batch transport that share a topic: they join, leave and die."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from tests.support.apps import committed, fresh, new_topic, until
from tests.support.batch_worker import BatchWorker, Line

PARTITIONS = 4

Start = Callable[[str, str], BatchWorker]


@pytest.fixture
def start(kafka: str, tmp_path: Path) -> Iterator[Start]:
    workers: list[BatchWorker] = []

    def begin(topic: str, group: str) -> BatchWorker:
        log = tmp_path / f"worker-{len(workers)}.txt"
        workers.append(BatchWorker(kafka, topic, group, log))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.kill()


@asynccontextmanager
async def written_to(kafka: str, topic: str) -> AsyncIterator[set[tuple[int, int]]]:
    """Write a few thousand records a second; partition and offset of each one so far."""
    written: set[tuple[int, int]] = set()
    producer = AIOKafkaProducer(bootstrap_servers=kafka, linger_ms=5)

    async def write() -> None:
        while True:
            sent = [
                await producer.send(topic, value=b"%d" % number, partition=number % PARTITIONS)
                for number in range(100)
            ]
            written.update((each.partition, each.offset) for each in await asyncio.gather(*sent))
            await asyncio.sleep(0.02)

    await producer.start()
    writing = asyncio.create_task(write())
    try:
        yield written
    finally:
        writing.cancel()
        await producer.stop()


def seen(*workers: BatchWorker) -> set[tuple[int, int]]:
    return {
        (line.partition, offset)
        for worker in workers
        for line in worker.lines()
        if line.what == "given"
        for offset in range(line.first, line.last + 1)
    }


def between_handovers(worker: BatchWorker) -> Iterator[list[Line]]:
    since: list[Line] = []
    for line in worker.lines():
        if line.what == "handover":
            yield since
            since = []
        else:
            since.append(line)


def done(since: list[Line]) -> Iterator[Line]:
    """The acknowledgements of what was given after the same handover."""
    given: set[tuple[int, int, int]] = set()
    for line in since:
        if line.what == "given":
            given.add(line.where)
        elif line.where in given:
            yield line


async def test_rebalance_hands_over_every_record_in_order(kafka: str, start: Start) -> None:
    topic, group = new_topic(kafka, PARTITIONS), fresh("group")
    async with written_to(kafka, topic) as written:
        first = start(topic, group)
        await until(lambda: first.given() > 500)
        second = start(topic, group)
        await until(lambda: second.given() > 500)
        first.stop()
        handed_over = second.given()
        await until(lambda: second.given() > handed_over + 500)
    await until(lambda: seen(first, second) >= written)
    await until(lambda: second.lines()[-1].what == "acked")
    second.stop()
    for since in (*between_handovers(first), *between_handovers(second)):
        for partition in range(PARTITIONS):
            given = [x for x in since if x.what == "given" and x.partition == partition]
            assert all(b.first == a.last + 1 for a, b in pairwise(given))
        for line in done(since):
            assert not any(later.repeats(line) for later in (*first.lines(), *second.lines()))
    for partition in range(PARTITIONS):
        end = max(offset for each, offset in seen(second) if each == partition) + 1
        assert await committed(kafka, group, topic, partition) == end


async def test_killed_worker_leaves_no_record_unseen(kafka: str, start: Start) -> None:
    topic, group = new_topic(kafka, PARTITIONS), fresh("group")
    async with written_to(kafka, topic) as written:
        killed = start(topic, group)
        await until(lambda: killed.given() > 500)
        killed.kill()
        successor = start(topic, group)
        await until(lambda: successor.given() > 500)
    await until(lambda: seen(killed, successor) >= written)
    last_done = {line.partition: line.last for line in killed.lines() if line.what == "acked"}
    resumed = {
        line.partition: line.first for line in reversed(successor.lines()) if line.first >= 0
    }
    assert all(resumed[each] <= last_done.get(each, -1) + 1 for each in range(PARTITIONS))
