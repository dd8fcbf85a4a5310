"""Watch: passes one topic of the Faust app through the engine or the linker.

The operator (`monitor/operator.py`) runs in a thread of its own, one call at a time, so the event
loop keeps answering. Only that thread reads or changes the operator's state. While the store
fails, nothing more is observed. `checkpoint.py` makes the results durable.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from monitor.backoff import pauses
from monitor.batch import Batch, Outcome, Rejected
from monitor.config import Topics
from monitor.errors import (
    MonitorError,
    RegistryUnavailableError,
    StoreError,
    StoreRefusedError,
)
from monitor.metrics import Metrics
from monitor.operator import StreamOperator, Withdrawn
from monitor.store.base import Store
from monitor.store.operate.processes import Place
from pipelines.kafka.record_batch import Records
from pipelines.worker.checkpoint import PAUSES, Checkpointer
from pipelines.worker.gauges import Gauges, Progress
from pipelines.worker.linking.reports import Reports
from pipelines.worker.patience import Patience
from pipelines.worker.starts import Starts

log = logging.getLogger(__name__)

_REJECTED_BYTES = 512 << 10  # sent of a rejected element; the source topic has all of it
_BATCH, _BATCH_BYTES = 4_000, 4 << 20  # messages observed in one call, and their bytes
_UNKEYED = (
    "The requests of one API key may reach several workers, and none sees all of them: let the "
    "gateway set the message key, or start all workers with --rekey."
)
_METRICS_SECONDS, _METRICS_SHARE = 2.0, 0.005  # between updates at least; of CPU time at most
_HANDOVER = 5.0  # seconds that a rebalance waits for a last checkpoint


class Watch:
    """Consumes one topic of a Faust app.

    Args:
        app: the Faust app.
        operator: observes the messages.
        store: takes the checkpoints.
        topics: names of the output topics.
        source: name of the input topic.
        metrics: default: metrics in a private registry.
        redact: whether the rejected topic gets the reason and the place of an element only.
        withdrawn: reads which alerts people have withdrawn. Nothing is consumed before the first
            answer, so a new worker does not decide what a person has overturned.
        reports: whether to report progress to the linker.
    """

    def __init__(
        self,
        app: Any,
        operator: StreamOperator,
        store: Store,
        topics: Topics,
        source: str,
        *,
        metrics: Metrics | None = None,
        redact: bool = True,
        withdrawn: Callable[[], Withdrawn] | None = None,
        reports: bool = False,
    ) -> None:
        self._app = app
        self._read_withdrawn = withdrawn
        self._informed = asyncio.Event()
        self._operator = operator
        self._topics = topics
        self._source = source
        self._metrics = metrics or Metrics()
        self._gauges = Gauges(self._metrics, source)
        self._metrics_due = 0.0  # monotonic time of the next `update_metrics`
        self._thread = ThreadPoolExecutor(1, "operator")
        self._redact = redact
        self._patience = Patience()
        self._checkpoints = Checkpointer(
            app,
            operator,
            self._run,
            self._assign,
            store,
            topics,
            source,
            self._metrics,
            self._patience,
        )
        self._reports = (
            Reports(app, operator, self._checkpoints, topics, source) if reports else None
        )
        self._warned_of_unkeyed = False
        self._revoked: int | None = None  # the generation of partitions that was revoked
        self._starts = Starts(app, self._metrics)
        self._no_schema: dict[str, str] = {}  # why a partition waits for the schema registry
        self._reached: tuple[Progress, dict[int, int]] | None = None  # as the gauges show it

    @property
    def assigned(self) -> bool:
        """Whether the operator has any partition."""
        return bool(self._operator.partitions)

    @property
    def trouble(self) -> str | None:
        """Why the store or the schema registry fails at present; `None` while both work."""
        no_schema = next(iter(self._no_schema.values()), None)
        return self._checkpoints.trouble or no_schema or self._patience.trouble

    def facts(self) -> dict[str, Any]:
        """What the heartbeat reports of the operator and its partitions."""
        if self._reached is None:
            return {}
        progress, lags = self._reached
        by_kind = defaultdict[str, dict[str, int]](dict)
        for (kind, severity), count in progress.open_alerts.items():
            by_kind[kind][severity] = count
        places = (
            Place(name, offset, lags.get(int(name.rpartition(":")[2])), clock)
            for name, (offset, clock) in sorted(progress.partitions.items())
        )
        return {
            "partitions": list(places),
            "open_alerts": dict(by_kind),
            "drift": {name: round(index, 3) for name, index in progress.drift.items() if index},
        }

    # Consume

    async def consume(self, stream: Any) -> None:
        """Observe the batches of a Faust stream until the app stops."""
        if self._read_withdrawn is not None:
            await self._informed.wait()
        async for event in stream.noack().events():
            try:
                await self.observe(event)
            except Exception as error:  # the batch must be read again
                await self._stop(error)
                raise

    async def observe(self, event: Any) -> None:
        """Observe one batch: the value of a Faust event, all of one partition and fetch.

        Returns when it is observed, or when the partition is no longer assigned.
        """
        message, records = event.message, event.value
        for part in records.parts(_BATCH, _BATCH_BYTES):
            if not await self._observe_part(message, part):
                return
        if self._owns(message):
            records.clear()  # the event is kept only for its acknowledgement
            self._checkpoints.observed.events.append(event)

    async def _observe_part(self, message: Any, records: Records) -> bool:
        """Observe some records as soon as store and memory allow; False if they were revoked."""
        waiting = pauses(*PAUSES)
        while self._owns(message):
            if self._checkpoints.trouble is None and not self._operator.needs_checkpoint:
                try:
                    async with self._checkpoints.observing:
                        if self._owns(message):  # it may have been revoked meanwhile
                            await self._observe_batch(message, records)
                            self._registry_works(message)
                            return True
                except StoreRefusedError:
                    raise
                except RegistryUnavailableError as error:
                    self._registry_failed(message, error)
                except StoreError as error:
                    self._checkpoints.store_failed(error)
            elif await self.checkpoint():
                continue
            await asyncio.sleep(next(waiting))
        return False

    async def _observe_batch(self, message: Any, records: Records) -> None:
        name = f"{message.topic}:{message.partition}"
        arrivals = records.timestamps / 1000
        batch = Batch(name, records.offsets, records.values, arrivals)
        if name not in self._operator.partitions:
            await self._run(self._assign)
        if await self._starts.must_skip(message.tp, name, int(batch.offsets[0])):
            return
        self._count_unkeyed(message, records)
        outcome: Outcome = await self._run(self._observe, batch)
        observed, arrival = self._checkpoints.observed, float(arrivals[-1])
        if arrival >= 0:  # else the records have no time
            observed.add_arrival(outcome, arrival)
        with self._patience.waiting(self._topics.rejected):
            for rejected in outcome.rejected:
                observed.outputs.append(await self._reject(message, rejected))
        with self._patience.waiting(self._topics.fingerprints):
            # With the time of the requests, so that campaign decisions count from there.
            if self._reports is not None:
                await self._reports.before_batch(message.tp, int(batch.offsets[0]), arrival)
            await self._checkpoints.produce_fingerprints(outcome.fingerprints, arrival)
            if self._reports is not None:
                await self._reports.after_batch(message.tp, arrival)

    def _count_unkeyed(self, message: Any, records: Records) -> None:
        """Count messages without a key; warn once. Their requests are spread over the workers."""
        unkeyed = len(records) - int(np.count_nonzero(records.keyed))
        if unkeyed:
            if not self._warned_of_unkeyed:
                self._warned_of_unkeyed = True
                log.warning(
                    "messages_without_key topic=%s offset=%d reason=%r",
                    message.topic,
                    int(records.offsets[np.argmin(records.keyed)]),
                    _UNKEYED,
                )
            self._metrics.unkeyed.labels(message.topic).inc(unkeyed)

    def _registry_failed(self, message: Any, error: RegistryUnavailableError) -> None:
        """Note that a batch waits: nothing of it was observed, and it is observed again."""
        name = f"{message.topic}:{message.partition}"
        if name not in self._no_schema:
            log.error("schema_registry_failed name=%s reason=%r", name, str(error))
        self._no_schema[name] = str(error)

    def _registry_works(self, message: Any) -> None:
        name = f"{message.topic}:{message.partition}"
        if self._no_schema.pop(name, None):
            log.info("schema_registry_back name=%s", name)

    def _owns(self, message: Any) -> bool:
        generation = self._app.consumer_generation_id
        return bool(message.generation_id == generation != self._revoked)

    def _observe(self, batch: Batch) -> Outcome:
        with self._metrics.observe_seconds.time():
            return self._operator.observe(batch)

    def _assign(self) -> None:
        """Assign the operator the app's partitions; called in its thread."""
        if self._app.consumer_generation_id == self._revoked:
            return
        for tp in self._app.consumer.assignment():
            name = f"{tp.topic}:{tp.partition}"
            if tp.topic == self._source and name not in self._operator.partitions:
                partition = self._operator.assign(name)
                self._starts.assigned(name, partition.offset)
                log.info("partition_assigned name=%s offset=%d", name, partition.offset)

    async def _reject(self, message: Any, rejected: Rejected) -> asyncio.Future[Any]:
        rejection = rejected.rejection
        headers = {
            "bytes": str(len(rejection.value)).encode(),
            "reason": rejection.reason.encode(),
            "detail": rejection.detail.encode("utf-8", "replace"),
            "topic": message.topic.encode(),
            "partition": str(message.partition).encode(),
            "offset": str(rejected.offset).encode(),
            "element": str(rejection.element).encode(),
        }
        value = b"" if self._redact else rejection.value[:_REJECTED_BYTES]
        return await self._checkpoints.produce(self._topics.rejected, None, value, headers)

    # Checkpoint

    async def checkpoint(self, *, may_be_early: bool = False) -> bool:
        """Write a checkpoint now; whether the store took it.

        It covers all batches that were observed, except that it `may_be_early`.

        The app stops if no later checkpoint of this process can succeed. Its successor reads
        again from Kafka what no checkpoint covers.
        """
        try:
            return await self._checkpoints.write(may_be_early=may_be_early)
        except MonitorError as error:
            await self._stop(error)
            return False

    async def run(self, seconds: float) -> None:
        """Write a checkpoint every `seconds` seconds while the app runs."""
        waiting, due = pauses(*PAUSES), time.monotonic()
        while not self._app.should_stop:
            if await self.checkpoint(may_be_early=True):
                waiting = pauses(*PAUSES)
                due = max(due + seconds, time.monotonic())
                await asyncio.sleep(due - time.monotonic())
            else:
                await asyncio.sleep(next(waiting))
            await self.set_gauges()
            if self._reports is not None:
                await self._reports.send_regularly()

    async def set_gauges(self) -> None:
        """Set the gauges of the assigned partitions."""
        if time.monotonic() >= self._metrics_due:
            took = await self._run(self._update_metrics)
            pause = max(_METRICS_SECONDS, took / _METRICS_SHARE)
            self._metrics_due = time.monotonic() + pause
        progress: Progress = await self._run(Progress.of, self._operator)
        consumer, lags = self._app.consumer, {}
        for tp in consumer.assignment():
            found = progress.partitions.get(f"{tp.topic}:{tp.partition}")
            if tp.topic == self._source and found is not None:
                lags[tp.partition] = consumer.lag(tp, found[0])
        self._gauges.set(progress, lags)
        self._reached = progress, lags

    def _update_metrics(self) -> float:
        """Update the operator's metrics; the CPU seconds that it took. Called in its thread."""
        begun = time.thread_time()
        self._operator.update_metrics()
        return time.thread_time() - begun

    @property
    def partitions(self) -> list[str]:
        """The names of the operator's partitions."""
        return list(self._operator.partitions)

    async def forget(self, subjects: Sequence[str]) -> bool:
        """Forget subjects, and write that; whether the store took it."""
        await self._run(self._operator.forget, subjects)
        return await self.checkpoint()

    async def follow_withdrawals(self, seconds: float) -> None:
        """Take over which alerts people have withdrawn, every `seconds` seconds."""
        assert self._read_withdrawn is not None
        while not self._app.should_stop:
            try:
                withdrawn = await asyncio.to_thread(self._read_withdrawn)
                await self._run(self._operator.withdraw, withdrawn)
                self._informed.set()
            except StoreRefusedError as error:  # the same again: work without them
                if not self._informed.is_set():
                    log.error("withdrawals_unknown reason=%r", str(error))
                self._informed.set()
            except StoreError:
                pass  # checkpoints report it
            await asyncio.sleep(seconds)

    # Assignment

    async def assign(self, *_: Any, **__: Any) -> None:
        """Partitions were assigned; the next batch or checkpoint assigns them to the operator."""
        self._revoked = None

    async def revoke(self, *_: Any, **__: Any) -> None:
        """Partitions were revoked: write a last checkpoint and forget them."""
        self._revoked = self._app.consumer_generation_id
        try:
            await asyncio.wait_for(self.checkpoint(), _HANDOVER)
        except TimeoutError:
            log.warning("handover_without_checkpoint seconds=%g", _HANDOVER)
        self._checkpoints.forget()
        self._starts.clear()
        self._no_schema.clear()
        if self._reports is not None:
            self._reports.clear()
        await self._run(self._operator.revoke)
        self._gauges.clear()
        self._reached = None

    async def _stop(self, error: Exception) -> None:
        """Stop the app. A restarted worker goes on from the last checkpoint."""
        log.error("worker_stops error=%s reason=%r", type(error).__name__, str(error))
        if self._revoked is None:
            await self._app.crash(error)

    async def _run(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in the operator's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)
