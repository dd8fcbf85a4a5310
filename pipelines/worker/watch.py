"""Watching requests: batches into the engine, checkpoints out of it.

Fingerprints are carried to the linker in the same way, by another one of these.

The engine runs in a thread of its own, one call at a time, so that the event loop goes on
answering. What it has observed becomes true in five steps, one checkpoint at a time:

    rejections and fingerprints on their topics
    -> records, offsets and decisions in one transaction of the store
    -> the alerts among them on their topic -> batches acknowledged -> offsets committed

A worker killed anywhere in between leaves its successor all it needs: events after the stored
offset are read again, events before it are skipped, and alerts that were stored but not sent are
in the partition's state. While the store refuses, nothing more is observed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from monitor import metrics
from monitor.alerting.alerts import Alert, Severity
from monitor.batch import Batch, Outcome, Rejected
from monitor.config import Topics
from monitor.engine import Engine
from monitor.errors import FencedError, StoreError
from monitor.linker import Linker
from monitor.store.base import Checkpoint, Store

log = logging.getLogger(__name__)

_KEPT = 512 << 10  # bytes of a rejected element that are passed on; the source topic has it all
_TOGETHER = 4_000  # messages observed in one go
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_HANDOVER = 5.0  # seconds that a rebalance waits for a last checkpoint


class Watch:
    """Carries one topic of a Faust app through an engine or a linker.

    Args:
        app: the Faust app, for its assignment.
        engine: observes.
        store: takes the checkpoints.
        topics: names of those to write.
        source: name of the topic to read.
    """

    def __init__(
        self, app: Any, engine: Engine | Linker, store: Store, topics: Topics, source: str
    ) -> None:
        self._app = app
        self._source = source
        self._topics = topics
        self._engine = engine
        self._store = store
        self._thread = ThreadPoolExecutor(1, "engine")
        self._events: list[Any] = []  # observed, not yet in a checkpoint
        self._sending: list[Awaitable[Any]] = []  # rejections and fingerprints on their way
        self._arrivals: list[float] = []  # of the batches that brought alerts about
        self._decided: dict[tuple[str, str], float] = {}  # arrivals of what led to decisions
        self._closed: int | None = None  # the generation that was revoked
        self._starts: dict[str, int] = {}  # up to where a partition's first batch may begin
        self._kinds: set[tuple[str, Severity]] = set()  # that have had open alerts
        self._observing = asyncio.Lock()  # held until the rejections of a batch are on their way
        self._writing = asyncio.Lock()
        self.trouble: str | None = None  # why the store refuses

    @property
    def assigned(self) -> bool:
        """Whether any partition of the requests has been taken up."""
        return bool(self._engine.partitions)

    # Observing

    async def observe(self, event: Any) -> None:
        """Observe one batch: the value of a Faust event, all of one partition and fetch."""
        message, records = event.message, event.value
        name = f"{message.topic}:{message.partition}"
        for start in range(0, len(records), _TOGETHER):
            part = records[start : start + _TOGETHER]
            batch = Batch(name, part.offsets, part.values)
            arrival = float(part.timestamps[-1]) / 1000
            pause = _FIRST_PAUSE
            while self._owns(message):
                if self.trouble is None and not self._engine.crowded:
                    try:
                        await self._observe_part(message, batch, arrival)
                        break
                    except StoreError as error:
                        self._refused(error)
                elif await self.checkpoint():
                    continue
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                return
        if self._owns(message):
            records.clear()  # the event is kept for its acknowledgement only
            self._events.append(event)

    async def _observe_part(self, message: Any, batch: Batch, arrival: float) -> None:
        async with self._observing:
            if self._owns(message):  # it may have been revoked meanwhile
                if batch.partition not in self._engine.partitions:
                    await self._in_engine(self._take_up)
                if await self._begins_late(message.tp, batch):
                    return
                outcome = await self._in_engine(self._observe, batch, arrival)
                for rejected in outcome.rejected:
                    await self._reject(message, rejected)
                for key, value in outcome.fingerprints:
                    # With the time of the requests, so that campaign decisions count from there.
                    sent = await self._produce(
                        self._topics.fingerprints, key.encode(), value, timestamp=arrival
                    )
                    self._sending.append(sent)

    async def _begins_late(self, tp: Any, batch: Batch) -> bool:
        """Whether a first batch has to wait for messages before it.

        Redis, if it has lost its last checkpoints, has an older offset than Kafka: the messages in
        between are fetched again. What had been fetched already comes first, each batch beginning
        later than the last, and is left. What then begins no later is all that Kafka has.
        """
        name, first = batch.partition, int(batch.offsets[0])
        if first <= self._starts.get(name, first):
            self._starts.pop(name, None)
            return False
        offset = self._engine.partitions[name].offset
        if self._starts[name] == offset:
            log.info("store_behind name=%s offset=%d committed=%d", name, offset, first)
            await self._app.consumer.seek(tp, offset)
        self._starts[name] = first
        return True

    def _owns(self, message: Any) -> bool:
        generation = self._app.consumer_generation_id
        return bool(message.generation_id == generation != self._closed)

    def _observe(self, batch: Batch, arrival: float) -> Outcome:
        with metrics.observe_seconds.time():
            outcome = self._engine.observe(batch)
        if outcome.alerts:
            self._arrivals.append(arrival)
        if arrival >= 0:  # else the records have no time
            decided = [(decision.origin, decision.key) for decision in outcome.decisions]
            self._decided.update(dict.fromkeys(decided, arrival))
        return outcome

    def _take_up(self) -> None:
        """Assign the engine what the app has been assigned: an idle partition may have alerts."""
        if self._app.consumer_generation_id == self._closed:
            return
        for tp in self._app.consumer.assignment():
            name = f"{tp.topic}:{tp.partition}"
            if tp.topic == self._source and name not in self._engine.partitions:
                partition = self._engine.assign(name)
                if partition.offset:
                    self._starts[name] = partition.offset
                log.info("partition_taken name=%s offset=%d", name, partition.offset)

    async def _reject(self, message: Any, rejected: Rejected) -> None:
        rejection = rejected.rejection
        value = rejection.value[:_KEPT]
        headers = {
            "bytes": str(len(rejection.value)).encode(),
            "reason": rejection.reason.encode(),
            "detail": rejection.detail.encode("utf-8", "replace"),
            "topic": message.topic.encode(),
            "partition": str(message.partition).encode(),
            "offset": str(rejected.offset).encode(),
            "element": str(rejection.element).encode(),
        }
        self._sending.append(await self._produce(self._topics.rejected, None, value, headers))

    # Writing

    async def checkpoint(self) -> bool:
        """Write what has changed, then send, then acknowledge; whether the store took it."""
        async with self._writing:
            events, self._events = self._events, []
            try:
                checkpoint = await self._write()
            except FencedError as error:
                # This worker was out for so long that its partitions were given away. It ends and
                # starts anew; the successor has all that was stored and reads the rest from Kafka.
                log.error("fenced reason=%r", str(error))
                if self._closed is None:
                    await self._app.crash(error)
                return False
            except StoreError as error:
                self._events = events + self._events
                self._refused(error)
                return False
            if self.trouble:
                log.warning("store_back")
                self.trouble = None
            if checkpoint.alerts:
                await self._send(checkpoint.alerts)
                await self._in_engine(self._sent, checkpoint)
            for event in events:
                event.ack()
            return True

    async def _write(self) -> Checkpoint:
        """Have the store take what has changed; the engine goes on observing meanwhile."""
        await self._in_engine(self._take_up)
        if not self._engine.changed:
            await asyncio.to_thread(self._store.ping)
            return Checkpoint()
        begun = time.perf_counter()
        async with self._observing:
            checkpoint: Checkpoint = await self._in_engine(self._engine.checkpoint)
            checkpoint.arrivals, self._decided = self._decided, {}
            sending, self._sending = self._sending, []
        try:
            await asyncio.gather(*sending)
            await asyncio.to_thread(self._store.commit, checkpoint)
        except StoreError:
            await self._in_engine(self._engine.failed, checkpoint)
            self._decided = checkpoint.arrivals | self._decided
            raise
        await self._in_engine(self._engine.saved)
        metrics.checkpoint_seconds.observe(time.perf_counter() - begun)
        metrics.checkpoint_records.inc(len(checkpoint.records))
        metrics.checkpoint_timestamp.set_to_current_time()
        return checkpoint

    async def _send(self, alerts: list[Alert]) -> None:
        """Put alerts on their topic, again and again until Kafka has them."""
        pause = _FIRST_PAUSE
        while True:
            sending: list[Awaitable[Any]] = []
            try:
                for alert in alerts:
                    key, value = alert.subject.id.encode(), msgspec.json.encode(alert)
                    sending.append(await self._produce(self._topics.alerts, key, value))
                await asyncio.gather(*sending)
                return
            except Exception as error:
                log.warning("alerts_not_sent count=%d reason=%r", len(alerts), str(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        headers: dict[str, bytes] | None = None,
        timestamp: float = -1.0,
    ) -> Awaitable[Any]:
        """Hand a message to the producer; what is returned is done when Kafka has it.

        Faust's own way through its topics costs five times as much, too much where everything is
        rejected.
        """
        producer = await self._app.maybe_start_producer()
        sending: Awaitable[Any] = await producer.send(
            topic, key, value, None, timestamp if timestamp >= 0 else None, headers
        )
        return sending

    def _sent(self, checkpoint: Checkpoint) -> None:
        self._engine.sent(checkpoint)
        arrivals, self._arrivals = self._arrivals, []
        for arrival in arrivals:
            metrics.alert_seconds.observe(max(0.0, time.time() - arrival))

    def _refused(self, error: StoreError) -> None:
        metrics.checkpoint_failures.inc()
        if self.trouble is None:
            log.error("store_refuses reason=%r", str(error))
        self.trouble = str(error)

    # Life

    async def run(self, seconds: float) -> None:
        """Write a checkpoint every so many seconds, for as long as the app runs."""
        pause, due = _FIRST_PAUSE, time.monotonic()
        metrics.checkpoint_timestamp.set_to_current_time()
        while not self._app.should_stop:
            if await self.checkpoint():
                pause = _FIRST_PAUSE
                due = max(due + seconds, time.monotonic())
                await asyncio.sleep(due - time.monotonic())
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            self._measure()

    async def revoke(self, *_: Any, **__: Any) -> None:
        """Partitions move: a last checkpoint, then forget, for others may go on from there."""
        self._closed = self._app.consumer_generation_id
        try:
            await asyncio.wait_for(self.checkpoint(), _HANDOVER)
        except TimeoutError:
            log.warning("handover_without_checkpoint seconds=%g", _HANDOVER)
        self._events.clear()
        self._starts.clear()
        self._decided.clear()
        await self._in_engine(self._engine.revoke)
        metrics.lag.clear()
        metrics.watermark.clear()

    async def assign(self, *_: Any, **__: Any) -> None:
        """Partitions have come; they are taken up with the next batch or checkpoint."""
        self._closed = None

    def _measure(self) -> None:
        open_alerts = self._engine.open_alerts()
        for kind, severity in self._kinds | open_alerts.keys():
            metrics.open_alerts.labels(kind, severity).set(open_alerts[kind, severity])
        self._kinds |= open_alerts.keys()
        consumer = self._app.consumer
        for tp in consumer.assignment():
            partition = self._engine.partitions.get(f"{tp.topic}:{tp.partition}")
            if partition is not None:
                behind = (consumer.highwater(tp) or partition.offset) - partition.offset
                metrics.lag.labels(tp.topic, tp.partition).set(max(0, behind))
                metrics.watermark.labels(tp.topic, tp.partition).set(partition.watermark)

    async def _in_engine(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)
