"""A Faust transport that delivers a whole fetch of a partition as one event.

Faust's cost is per message: a task switch, a decode, a queue, an acknowledgement. Here a message is
a batch of about a thousand records, so that cost is paid once per batch:

    app = faust.App("monitor", broker="kafka-batch://127.0.0.1:9092", **DEFAULTS)

    @app.agent(app.topic("llm.requests"))
    async def watch(stream):
        async for event in stream.noack().events():
            engine.observe(event.value)  # Records, in order
            event.ack()  # now, or at a later checkpoint, in any order

With `noack()` the agent acknowledges. Without it Faust acknowledges a batch when the loop asks for
the next. The committed offset of a partition is the end of the last batch before the first
unacknowledged one. Joining, seeking and producing are those of the aiokafka driver.

Faust's back-pressure blocks the one loop that feeds all agents as soon as one queue is full. Here a
partition is fetched only while all its agents have room, and a batch that then finds no room waits
for the next round. So a stuck agent stops its own topic only. Memory holds at most
`stream_buffer_maxsize` batches per agent and two per partition, each of at most
`consumer_max_fetch_size` bytes as stored in Kafka.

Values reach agents as bytes; keys and headers do not. Give topics no types or serializers. Faust's
tables, `ask` and `take` count messages and do not work with this transport.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from pipelines.kafka.fetch import deliver_whole_fetches
from pipelines.kafka.producer import Producer as IdempotentProducer
from pipelines.kafka.record_batch import Records

_FETCH_SECONDS = 0.25  # longest wait of a fetch without data; a seek waits for it
_POLL_SECONDS = 0.05  # the same, while a partition waits for room; shorter waits use 3% of a core
_STOP_SECONDS = 3.0
_FLUSH_SECONDS = 1.0
# The broker holds a fetch until it has this much data or this much time has passed, which keeps
# batches large at low rates: a message in a batch of ten costs nine times the CPU of one in a batch
# of thousands. Other fetches wait behind it.
_BROKER_BYTES, _BROKER_WAIT_MS = 1 << 20, 200


class Batches(faust.Schema):  # type: ignore[misc]
    """No serialization: records in, bytes out."""

    key_serializer = "raw"
    value_serializer = "raw"

    def compile(self, app: Any, **_: Any) -> Any:
        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return app.create_event(message.key, message.value, message.headers, message)

        return decode


#: Faust settings that an app on this transport needs, or needs to be fast.
DEFAULTS: dict[str, Any] = {
    "Schema": Batches,
    "stream_buffer_maxsize": 16,  # batches
    "stream_wait_empty": False,  # or stopping waits for unacknowledged batches for ever
    "table_standby_replicas": 0,  # without tables partitions are assigned round-robin
    "topic_disable_leader": True,
    # Faust creates a folder for its tables; the working directory may be read-only.
    "datadir": Path(tempfile.gettempdir(), f"extraction-monitor-{os.getuid()}"),
    "broker_session_timeout": 10.0,  # until the partitions of a dead worker are reassigned
    "broker_heartbeat_interval": 2.0,
    "broker_rebalance_timeout": 30.0,  # for a worker to finish revoked partitions
}


class _Delivery:
    """A delivered batch: its last offset, and whether it is acknowledged."""

    __slots__ = ("acked", "end")

    def __init__(self, end: int) -> None:
        self.end = end
        self.acked = False


class _BatchMessage(ConsumerMessage):  # type: ignore[misc]
    """A message whose acknowledgement is kept in its `_Delivery`, so that the records can be freed.

    Faust acknowledges by assigning `acked`, on several paths, one of them compiled.
    """

    def __init__(self, delivery: _Delivery, tp: TP, records: Records, **rest: Any) -> None:
        self.delivery = delivery
        super().__init__(
            topic=tp.topic,
            partition=tp.partition,
            offset=delivery.end,
            timestamp=float(records.timestamps[-1]) / 1000,
            timestamp_type=None,
            value=records,
            headers=None,
            key=None,
            checksum=None,
            tp=tp,
            **rest,
        )

    @property
    def acked(self) -> bool:
        return self.delivery.acked

    @acked.setter
    def acked(self, value: bool) -> None:
        self.delivery.acked = value


class _ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    def _create_worker_consumer(self, transport: Any) -> Any:
        # aiokafka sends one fetch per broker at a time. With Faust's 1.5 s a busy partition would
        # wait that long behind an idle one.
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = _BROKER_WAIT_MS
        consumer._fetch_min_bytes = _BROKER_BYTES
        # Requests of an aborted transaction were never logged. Faust offers this isolation only
        # together with transactional producers.
        consumer._isolation_level = "read_committed"
        return consumer

    async def on_start(self) -> None:
        await super().on_start()
        deliver_whole_fetches(self._consumer)

    async def on_thread_stop(self) -> None:
        # While the broker is down, aiokafka lets the cancellation of its own fetch escape here. The
        # thread would die without waking those that wait for its end.
        with suppress(asyncio.CancelledError, TimeoutError):
            await asyncio.wait_for(super().on_thread_stop(), _STOP_SECONDS)


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Fetches and delivers batches, and tracks their acknowledgement."""

    def _reset_state(self) -> None:
        super()._reset_state()
        #: Fetched but not delivered: at most one batch per partition, the oldest first.
        self._fetched: dict[TP, Records] = {}
        #: Offset after the last fetched record.
        self._fetched_until: dict[TP, int] = {}
        #: Delivered but not committed, in order.
        self._delivered: defaultdict[TP, deque[_Delivery]] = defaultdict(deque)
        #: Held during a fetch and during a seek, so that no fetch spans a seek.
        self._position_lock = asyncio.Lock()

    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # Delivery

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, _BatchMessage]]:  # noqa: ASYNC109
        """Deliver one batch per partition whose agents have room."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        await self._fetch()
        generation = self.app.consumer_generation_id
        for tp in list(self._fetched):
            if not self.flow_active or generation != self.app.consumer_generation_id:
                return
            if tp in self._fetched and tp in self._active_partitions and self._has_room(tp):
                self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                yield tp, self._deliver(tp, self._fetched.pop(tp))

    async def _fetch(self) -> None:
        """Fetch for partitions with room; wait only if no partition is full."""
        active = self._active_partitions
        wanted = {tp for tp in active if tp not in self._fetched and self._has_room(tp)}
        if not wanted:  # to aiokafka an empty set means all partitions
            await self.sleep(_POLL_SECONDS)
            return
        seconds = _FETCH_SECONDS if len(wanted) == len(active) else _POLL_SECONDS
        async with self._position_lock:
            for tp, fetched in (await self._getmany(wanted, seconds)).items():
                [self._fetched[tp]] = fetched
                self._fetched_until[tp] = int(fetched[0].offsets[-1]) + 1

    def _has_room(self, tp: TP) -> bool:
        return not any(channel.queue.full() for channel in self.app.topics._tp_index.get(tp, ()))

    def _deliver(self, tp: TP, records: Records) -> _BatchMessage:
        self._read_offset[tp] = None  # aiokafka tracks the position; Faust must drop nothing
        delivery = _Delivery(int(records.offsets[-1]))
        if self.app.topics.acks_enabled_for(tp.topic):
            self._delivered[tp].append(delivery)
        generation = self.app.consumer_generation_id
        return _BatchMessage(delivery, tp, records, generation_id=generation)

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing to do: each fetch and each delivery checks for room."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Nothing to do: see `on_buffer_full`."""

    # Progress

    def lag(self, tp: TP, offset: int) -> int:
        """Messages of a partition that are not observed yet.

        Offsets include the markers at the end of transactions, which are never delivered. So behind
        the last record that was fetched, the position of the fetcher counts, not `offset`.

        Args:
            tp: an assigned partition.
            offset: after the last message that was observed.
        """
        consumer = self._thread._ensure_consumer()
        state = consumer._subscription.subscription.assignment.state_value(tp)
        # A partition that was just assigned has no position, and aiokafka asserts that it has.
        if offset >= self._fetched_until.get(tp, offset) and state.has_valid_position:
            offset = max(offset, state.position)
        # Up to the first open transaction; a broker without transactions has only the end.
        end = consumer.last_stable_offset(tp)
        end = consumer.highwater(tp) if end is None or end < 0 else end
        return max(0, (end or 0) - offset)

    def has_caught_up(self, tp: TP, offset: int) -> bool:
        """Whether Kafka has said where a partition ends, and `lag` is 0."""
        known = self._thread._ensure_consumer().highwater(tp) is not None
        return known and self.lag(tp, offset) == 0

    # Acknowledgement

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        for tp, deliveries in list(self._delivered.items()):
            named = topics is None or tp in topics or tp.topic in topics
            if named and deliveries and deliveries[0].acked:
                yield tp

    def _new_offset(self, tp: TP) -> int | None:
        """The offset to commit: the end of the last batch before the first unacknowledged one."""
        deliveries, offset = self._delivered[tp], None
        while deliveries and deliveries[0].acked:
            offset = deliveries.popleft().end + 1
        self._forget_acks(tp)
        return offset

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Nothing to do: a batch covers the gaps in its offsets."""

    def _forget_acks(self, tp: TP) -> None:
        """Drop Faust's own list of acknowledged offsets; nothing here reads it."""
        self._acked.pop(tp, None)
        self._acked_index.pop(tp, None)

    # Change of position or of owner

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit what is acknowledged, including by the app's handlers of the revocation."""
        await super().on_partitions_revoked(revoked)
        if not self.app.should_stop:  # a closing consumer commits by itself
            await self.maybe_wait_for_commit_to_finish()
            await self.commit(revoked)
        self._forget(revoked)

    async def perform_seek(self) -> None:
        async with self._position_lock:
            await super().perform_seek()
            self._forget(self.assignment())

    async def seek(self, partition: TP, offset: int) -> None:
        async with self._position_lock:
            await super().seek(partition, offset)
            self._forget([partition])

    async def on_stop(self) -> None:
        """Commit what is acknowledged, but do not wait for a broker that is down."""
        with suppress(TimeoutError):
            await asyncio.wait_for(super().on_stop(), _STOP_SECONDS)

    def _forget(self, tps: Iterable[TP]) -> None:
        for tp in tps:
            self._fetched.pop(tp, None)
            self._fetched_until.pop(tp, None)
            self._delivered.pop(tp, None)
            self._forget_acks(tp)


class Producer(driver.Producer):  # type: ignore[misc]
    """The aiokafka driver's producer, without long waits at the end of a worker.

    Messages are stored once (`producer.py`). While the broker is down, Faust's producer waits for
    unsent messages up to 20 minutes. Callers that need a message delivered wait for its
    acknowledgement.
    """

    @property
    def _producer_type(self) -> type[IdempotentProducer]:
        return IdempotentProducer

    async def partitions(self, topic: str) -> int:
        """The number of a topic's partitions; waits for a topic that does not exist yet."""
        return len(await self._ensure_producer().partitions_for(topic))

    async def flush(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(super().flush(), _FLUSH_SECONDS)

    async def on_stop(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(super().on_stop(), _FLUSH_SECONDS)


class Transport(driver.Transport):  # type: ignore[misc]
    """The aiokafka driver with a consumer of batches; its URL scheme is `kafka-batch`."""

    Consumer = Consumer
    Producer = Producer
    driver_version = f"batches on {driver.Transport.driver_version}"
