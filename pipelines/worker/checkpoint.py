"""Checkpoints: what a worker has observed becomes durable, in six steps.

    1. Assign     the operator has all partitions of the app: an idle one may hold unsent alerts.
    2. Snapshot   between two batches: changed state, and all output of the batches in it.
    3. Flush      wait until Kafka has the rejections and fingerprints of these batches.
    4. Commit     records, offsets, decisions and unsent alerts, in one transaction of the store.
    5. Publish    the alerts, and wait until Kafka has them.
    6. Acknowledge the batches: the transport may commit their offsets to Kafka.

A failure in steps 1 to 4 rolls the snapshot back: nothing is acknowledged, and the next
checkpoint contains all of it again. From step 4 on, the death of the worker costs nothing: the next
owner of a partition skips messages below the stored offset, reads the others again, and sends
alerts that were stored but not sent. So every output is sent at least once.

Records are most of what a checkpoint writes, and those of busy keys soon change again. So while a
stream changes many records, they and the offsets wait for up to RECORDS_SECONDS. The checkpoints in
between are early ones, which deal with alerts and decisions only:

    1. Take       between two batches: the decisions and the unsent alerts.
    2. Commit     the decisions, in one transaction; not if a successor has claimed a partition.
    3. Publish    the alerts, and wait until Kafka has them.

An early checkpoint covers no batch. If the worker dies after it, its successor observes the batches
again, and they yield the same alerts and decisions: an alert may be sent twice, under the same id.
If an early checkpoint fails, the next checkpoint contains all of it again.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import msgspec

from monitor.alerting.alerts import Alert
from monitor.backoff import pauses
from monitor.batch import KeyFingerprint, Outcome
from monitor.campaigns.fingerprint import join
from monitor.config import Topics
from monitor.errors import FencedError, MonitorError, StoreError, StoreRefusedError
from monitor.metrics import Metrics
from monitor.operator import StreamOperator
from monitor.store.base import Checkpoint, Store
from pipelines.kafka.partitioner import partition_of
from pipelines.worker.patience import Patience

log = logging.getLogger(__name__)

PAUSES = 0.1, 5.0  # seconds between attempts, the first and the longest
RECORDS_SECONDS = 5.0  # until changed records are written, at the latest
_FEW, _MANY = 0.005, 0.125  # changed records, of those in memory: which are written at once
_OUTPUTS = 10_000  # rejections and fingerprints that may wait for a checkpoint
_FINGERPRINTS = 500  # in one message: a quarter of the size that Kafka accepts by default

Run = Callable[..., Awaitable[Any]]


class FlushError(MonitorError):
    """Kafka refused a rejection or a fingerprint, and aiokafka has given up retrying."""


@dataclass(slots=True)
class Observed:
    """Batches that no checkpoint covers yet, and their output.

    Attributes:
        events: Faust events to acknowledge.
        outputs: rejections and fingerprints that were handed to the producer.
        alerts: when the batches arrived from which alerts followed, epoch seconds.
        decisions: by origin and key of a decision, when the batch arrived from which it followed.
    """

    events: list[Any] = field(default_factory=list)
    outputs: list[asyncio.Future[Any]] = field(default_factory=list)
    alerts: list[float] = field(default_factory=list)
    decisions: dict[tuple[str, str], float] = field(default_factory=dict)

    def add_arrival(self, outcome: Outcome, arrival: float) -> None:
        """Note when a batch arrived in Kafka, epoch seconds."""
        if outcome.alerts:
            self.alerts.append(arrival)
        decided = [(decision.origin, decision.key) for decision in outcome.decisions]
        self.decisions.update(dict.fromkeys(decided, arrival))

    def without_batches(self) -> Observed:
        """Take out the arrivals; the batches still wait for a checkpoint that covers them."""
        taken = Observed(alerts=self.alerts, decisions=self.decisions)
        self.alerts, self.decisions = [], {}
        return taken

    def __add__(self, later: Observed) -> Observed:
        return Observed(
            self.events + later.events,
            self.outputs + later.outputs,
            self.alerts + later.alerts,
            self.decisions | later.decisions,
        )


class Checkpointer:
    """Writes the checkpoints of one operator, one at a time.

    Args:
        app: the Faust app, for its producer.
        operator: whose state is written.
        run: calls a function in the operator's thread.
        assign: assigns the operator the app's partitions; called in its thread.
        store: where state is written, from a thread of its own: a slow store must not stop the
            operator, and the store's other users must not delay a checkpoint.
        topics: names of the output topics.
        source: name of the input topic.
        metrics: counts and times checkpoints.
        patience: says when Kafka does not accept the output.

    Attributes:
        observed: what the next checkpoint covers.
        observing: held while a batch is observed and its output is handed to the producer.
        trouble: why the store fails at present; `None` while it works.
    """

    def __init__(
        self,
        app: Any,
        operator: StreamOperator,
        run: Run,
        assign: Callable[[], None],
        store: Store,
        topics: Topics,
        source: str,
        metrics: Metrics,
        patience: Patience,
    ) -> None:
        self._app = app
        self._operator = operator
        self._run = run
        self._assign = assign
        self._store = store
        self._store_thread = ThreadPoolExecutor(1, "checkpoint")
        self._topics = topics
        self._metrics = metrics
        self._patience = patience
        self._written_at = metrics.checkpoint_timestamp.labels(source)
        self._written_at.set_to_current_time()
        self._writing = asyncio.Lock()
        self._records_at = -math.inf  # when a checkpoint with records began
        self._waiting = 0  # batches that no checkpoint covered when the last one was written
        self.observed = Observed()
        self.observing = asyncio.Lock()
        self.trouble: str | None = None

    async def write(self, *, may_be_early: bool = False) -> bool:
        """Write a checkpoint.

        Args:
            may_be_early: whether records may wait if many are changed.

        Returns:
            whether the store took it. If not, `trouble` says why, and a later call may succeed.

        Raises:
            FencedError, StoreRefusedError, FlushError: no later call of this process can succeed.
        """
        async with self._writing:
            try:
                if may_be_early and await self._records_may_wait():
                    await self._write_early()
                else:
                    await self._write()
            except (FencedError, StoreRefusedError):
                raise
            except StoreError as error:
                self.store_failed(error)
                return False
            if self.trouble:
                log.warning("store_back")
                self.trouble = None
            return True

    async def _records_may_wait(self) -> bool:
        idle = len(self.observed.events) == self._waiting and not self.observing.locked()
        self._waiting = len(self.observed.events)
        if idle or self.trouble or len(self.observed.outputs) > _OUTPUTS:
            return False
        if time.monotonic() - self._records_at >= RECORDS_SECONDS:
            return False
        changed: float = await self._run(lambda: self._operator.unsaved_share)
        return _FEW < changed < _MANY

    async def _write(self) -> None:
        begun = time.perf_counter()
        self._records_at, self._waiting = time.monotonic(), 0
        # 1. Assign
        await self._run(self._assign)
        # 2. Snapshot
        async with self.observing:
            checkpoint: Checkpoint | None = await self._run(self._snapshot)
            observed, self.observed = self.observed, Observed()
        try:
            # 3. Flush
            with self._patience.waiting(self._topics.rejected, self._topics.fingerprints):
                await _flush(observed.outputs)
            # 4. Commit
            await self._commit(checkpoint, observed)
        except BaseException:  # also a cancellation, by a handover that takes too long
            await self._roll_back(checkpoint, observed)
            raise
        if checkpoint is not None:
            await self._run(self._operator.commit, checkpoint)
            self._metrics.checkpoint_seconds.observe(time.perf_counter() - begun)
            self._metrics.checkpoint_records.inc(len(checkpoint.records))
            self._written_at.set_to_current_time()
            # 5. Publish
            await self._publish(checkpoint, observed)
        # 6. Acknowledge
        for event in observed.events:
            event.ack()

    async def _write_early(self) -> None:
        # 1. Take
        async with self.observing:
            checkpoint: Checkpoint = await self._run(self._operator.outputs)
            observed = self.observed.without_batches()
        self._metrics.early_checkpoints.inc()
        if not checkpoint.alerts and not checkpoint.decisions:
            return
        try:
            # 2. Commit
            await self._commit(checkpoint, observed)
        except BaseException:
            await self._roll_back(checkpoint, observed)
            raise
        # 3. Publish
        await self._publish(checkpoint, observed)

    def _snapshot(self) -> Checkpoint | None:
        return self._operator.snapshot() if self._operator.dirty else None

    async def _roll_back(self, checkpoint: Checkpoint | None, observed: Observed) -> None:
        self.observed = observed + self.observed
        if checkpoint is not None:
            await self._run(self._operator.rollback, checkpoint)

    async def _commit(self, checkpoint: Checkpoint | None, observed: Observed) -> None:
        """Write to the store; without a checkpoint find out whether it could be written."""
        loop = asyncio.get_running_loop()
        if checkpoint is None:
            await loop.run_in_executor(self._store_thread, self._store.ping)
        else:
            checkpoint.arrivals = observed.decisions
            await loop.run_in_executor(self._store_thread, self._store.commit, checkpoint)

    async def _publish(self, checkpoint: Checkpoint, observed: Observed) -> None:
        """Send the alerts of a committed checkpoint."""
        if checkpoint.alerts:
            with self._patience.waiting(self._topics.alerts):
                await self._send(checkpoint.alerts)
            await self._run(self._operator.published, checkpoint)
        for arrival in observed.alerts:
            self._metrics.alert_seconds.observe(max(0.0, time.time() - arrival))

    async def _send(self, alerts: list[Alert]) -> None:
        """Send alerts; retry until Kafka has them."""
        waiting = pauses(*PAUSES)
        while True:
            try:
                await _flush(
                    [
                        await self.produce(
                            self._topics.alerts,
                            alert.subject.id.encode(),
                            msgspec.json.encode(alert),
                        )
                        for alert in alerts
                    ]
                )
                return
            except Exception as error:
                log.warning("alerts_not_sent count=%d reason=%r", len(alerts), str(error))
                await asyncio.sleep(next(waiting))

    async def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        headers: dict[str, bytes] | None = None,
        timestamp: float = -1.0,
        partition: int | None = None,
    ) -> asyncio.Future[Any]:
        """Hand a message to the producer; the future is done when Kafka has it.

        Args:
            timestamp: of the record, epoch seconds; negative: now.
            partition: its number; default: that of the key.

        Not through Faust's topics: those cost five times as much per message, which is too much
        when every request is rejected.
        """
        producer = await self._app.maybe_start_producer()
        delivery: asyncio.Future[Any] = await producer.send(
            topic, key, value, partition, timestamp if timestamp >= 0 else None, headers
        )
        return delivery

    async def produce_fingerprints(
        self, fingerprints: Sequence[KeyFingerprint], timestamp: float
    ) -> None:
        """Hand the fingerprints of a batch to the producer, those of a partition in one message.

        All fingerprints of a key go to one partition, in order.
        """
        if not fingerprints:
            return
        topic = self._topics.fingerprints
        producer = await self._app.maybe_start_producer()
        count = await producer.partitions(topic)
        groups = defaultdict[int, list[KeyFingerprint]](list)
        for each in fingerprints:
            groups[partition_of(each.key.encode(), count)].append(each)
        for number, group in groups.items():
            for start in range(0, len(group), _FINGERPRINTS):
                part = group[start : start + _FINGERPRINTS]
                key, value = part[0].key.encode(), join([each.value for each in part])
                self.observed.outputs.append(
                    await self.produce(topic, key, value, timestamp=timestamp, partition=number)
                )

    def forget(self) -> None:
        """Drop what no checkpoint covers: the next owner of the partitions observes it again."""
        self.observed = Observed()

    def store_failed(self, error: StoreError) -> None:
        """Note that the store failed in a way that may pass."""
        self._metrics.checkpoint_failures.inc()
        if self.trouble is None:
            log.error("store_failed reason=%r", str(error))
        self.trouble = str(error)


async def _flush(outputs: Iterable[asyncio.Future[Any]]) -> None:
    """Wait until Kafka has all messages.

    Not `asyncio.gather`: if this is cancelled, it cancels the deliveries, and the next checkpoint
    waits for them again.

    Raises:
        FlushError: if Kafka refused one.
    """
    outputs = list(outputs)
    if not outputs:
        return
    await asyncio.wait(outputs)
    for output in outputs:
        error = output.exception()
        if error is not None:
            raise FlushError(
                f"Kafka refused a message of the worker ({error!r}): check that the topics exist "
                "(xm topics) and that the worker may write to them. The worker starts again from "
                "its last checkpoint."
            ) from error
