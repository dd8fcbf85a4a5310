"""Reports the progress of a worker's partitions to the linker, which waits for all of them.

A report precedes the first fingerprints of a partition, and follows those of a batch that passed a
round of the linker. Every few seconds there is one about all partitions, also while nothing
arrives. `Checkpointer` waits until Kafka has them, as for fingerprints.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from monitor.campaigns.order.progress import PartitionProgress, Progress, encode
from monitor.campaigns.order.sources import rounds_passed
from monitor.config import Topics
from monitor.operator import StreamOperator
from pipelines.worker.checkpoint import Checkpointer

SECONDS = 2.0  # between reports about all partitions
_KEY = b"progress"  # of the messages; a message without a key is counted and reported

log = logging.getLogger(__name__)


class Reports:
    """Sends the reports.

    Args:
        app: the Faust app.
        operator: of the requests.
        checkpoints: sends messages.
        topics: names of the output topics.
        source: name of the topic of requests.
    """

    def __init__(
        self,
        app: Any,
        operator: StreamOperator,
        checkpoints: Checkpointer,
        topics: Topics,
        source: str,
    ) -> None:
        self._app = app
        self._operator = operator
        self._checkpoints = checkpoints
        self._topics = topics
        self._source = source
        self._passed: dict[int, float] = {}  # rounds, by partition, as last reported
        self._due = 0.0

    async def before_batch(self, tp: Any, offset: int, arrival: float) -> None:
        """Report a partition that is new, so that the linker waits for it from the beginning.

        Args:
            tp: the partition.
            offset: the first message of the batch.
            arrival: when the batch arrived in Kafka, epoch seconds; negative if unknown.
        """
        if tp.partition not in self._passed:
            self._passed[tp.partition] = 0.0
            await self._send([PartitionProgress(tp.partition, 0.0, offset, False)], arrival)

    async def after_batch(self, tp: Any, arrival: float) -> None:
        """Report a partition if its last batch passed a round. Arguments as above."""
        found = self._progress(tp)
        if found is None:
            return
        passed = rounds_passed(found.watermark)
        if passed > self._passed[tp.partition]:
            await self._send([found], arrival)
            self._passed[tp.partition] = passed

    async def send_regularly(self) -> None:
        """Report all partitions if it is time."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + SECONDS
        try:
            async with self._checkpoints.observing, asyncio.timeout(SECONDS):
                assigned = self._app.consumer.assignment()
                found = [self._progress(tp) for tp in assigned if tp.topic == self._source]
                await self._send([each for each in found if each is not None], -1.0)
        except Exception as error:  # the next report makes up for it
            log.warning("progress_not_sent reason=%r", str(error) or type(error).__name__)

    def clear(self) -> None:
        """Forget all partitions."""
        self._passed.clear()

    def _progress(self, tp: Any) -> PartitionProgress | None:
        """The progress of a partition; `None` if the operator does not have it."""
        partition = self._operator.partitions.get(f"{tp.topic}:{tp.partition}")
        if partition is None:
            return None
        caught_up = self._app.consumer.has_caught_up(tp, partition.offset)
        return PartitionProgress(tp.partition, partition.watermark, partition.offset, caught_up)

    async def _send(self, partitions: list[PartitionProgress], timestamp: float) -> None:
        """Send a report to all partitions of the topic of fingerprints."""
        if not partitions:
            return
        producer = await self._app.maybe_start_producer()
        count = await producer.partitions(self._source)
        value = encode(Progress(self._source, count, time.time(), partitions))
        topic = self._topics.fingerprints
        for number in range(await producer.partitions(topic)):
            sent = await self._checkpoints.produce(
                topic, _KEY, value, timestamp=timestamp, partition=number
            )
            self._checkpoints.observed.outputs.append(sent)
