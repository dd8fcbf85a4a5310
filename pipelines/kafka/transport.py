"""A Faust transport that hands an agent a whole fetch of a partition as one event.

Faust spends its time a message: a task switch, a decode, a queue, an acknowledgement. Here a
message is a batch, so that price is paid once in a thousand records or so:

    app = faust.App("monitor", broker="kafka-batch://127.0.0.1:9092", **DEFAULTS)

    @app.agent(app.topic("llm.requests"))
    async def watch(stream):
        async for event in stream.noack().events():
            engine.observe(event.value)  # Records, in order
            event.ack()  # now, or at a later checkpoint, in any order

`noack()` leaves the acknowledging to the agent; without it a batch is acknowledged when the loop
asks for the next. The offsets committed are those up to which every batch of the partition has
been acknowledged, no more. Everything else is the aiokafka driver's: joining, seeking, producing.

Faust's back-pressure signals a queue that is about to fill, but blocks the one loop that feeds all
agents once it has. Here a partition is asked for records only while each of its agents has room,
and a batch that finds no room after all is kept for the next round; so a stuck agent stops its own
topic and no other. In memory are at most `stream_buffer_maxsize` batches an agent and two a
partition, each of at most `consumer_max_fetch_size` bytes as it lies in Kafka.

Values reach agents as they are, bytes; keys and headers do not: give topics no types or
serializers. Faust's tables, `ask` and `take` count messages, which are batches here, and are not
for this transport.
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

from pipelines.kafka.fetch import keep_whole
from pipelines.kafka.record_batch import Records

_FETCH_SECONDS = 0.25  # a fetch that finds nothing; a seek waits for it
_POLL_SECONDS = 0.01  # the same, while some partition waits for room
_STOP_SECONDS = 3.0
_FLUSH_SECONDS = 1.0
_BROKER_WAIT_MS = 100  # that the broker may wait for records; others queue up behind it


class Batches(faust.Schema):  # type: ignore[misc]
    """Keys and values as they are: records in, bytes out."""

    key_serializer = "raw"
    value_serializer = "raw"

    def compile(self, app: Any, **_: Any) -> Any:
        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return app.create_event(message.key, message.value, message.headers, message)

        return decode


#: Faust settings without which an app on this transport misbehaves, or wastes memory or time.
DEFAULTS: dict[str, Any] = {
    "Schema": Batches,
    "stream_buffer_maxsize": 16,  # batches
    "stream_wait_empty": False,  # else stopping waits for batches that nobody acknowledges
    "table_standby_replicas": 0,  # no tables: partitions are dealt out round robin
    "topic_disable_leader": True,
    # Faust makes a folder for its tables: not in the working directory, which may be read-only
    "datadir": Path(tempfile.gettempdir(), f"extraction-monitor-{os.getuid()}"),
    "broker_session_timeout": 10.0,  # how long a dead worker keeps its partitions
    "broker_heartbeat_interval": 2.0,
    "broker_rebalance_timeout": 30.0,  # for a worker to finish what it gives back
}


class _Delivery:
    """A batch that an agent was given: its last offset, and whether it was acknowledged."""

    __slots__ = ("acked", "end")

    def __init__(self, end: int) -> None:
        self.end = end
        self.acked = False


class _BatchMessage(ConsumerMessage):  # type: ignore[misc]
    """A message that notes its acknowledgement where it outlives the message and its records.

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
        # While a fetch for idle partitions is under way, aiokafka sends none for others of the
        # same broker: with Faust's 1.5 s a busy partition would stand still behind an idle one.
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = _BROKER_WAIT_MS
        return consumer

    async def on_start(self) -> None:
        await super().on_start()
        keep_whole(self._consumer)

    async def on_thread_stop(self) -> None:
        # While its broker is away aiokafka lets the cancellation of its own fetch escape here,
        # of which the thread would die without telling those who wait for its end.
        with suppress(asyncio.CancelledError, TimeoutError):
            await asyncio.wait_for(super().on_thread_stop(), _STOP_SECONDS)


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Fetches and delivers batches, and knows up to where they are acknowledged."""

    def _reset_state(self) -> None:
        super()._reset_state()
        #: Fetched, not yet delivered: at most one batch a partition, the longest waiting first.
        self._fetched: dict[TP, Records] = {}
        #: Delivered, not yet committed, in order.
        self._delivered: defaultdict[TP, deque[_Delivery]] = defaultdict(deque)
        #: Held while fetching and while seeking, so that no fetch straddles a seek.
        self._position_lock = asyncio.Lock()

    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # Delivery

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, _BatchMessage]]:  # noqa: ASYNC109
        """Deliver one batch a partition, of those whose agents have room."""
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
        """Add to what is fetched, waiting only if there is nothing else to do."""
        active = self._active_partitions
        wanted = {tp for tp in active if tp not in self._fetched and self._has_room(tp)}
        if not wanted:  # aiokafka takes an empty set for all partitions
            await self.sleep(_POLL_SECONDS)
            return
        seconds = _FETCH_SECONDS if len(wanted) == len(active) else _POLL_SECONDS
        async with self._position_lock:
            for tp, fetched in (await self._getmany(wanted, seconds)).items():
                [self._fetched[tp]] = fetched

    def _has_room(self, tp: TP) -> bool:
        return not any(channel.queue.full() for channel in self.app.topics._tp_index.get(tp, ()))

    def _deliver(self, tp: TP, records: Records) -> _BatchMessage:
        self._read_offset[tp] = None  # what to fetch next aiokafka knows best: Faust drops nothing
        delivery = _Delivery(int(records.offsets[-1]))
        if self.app.topics.acks_enabled_for(tp.topic):
            self._delivered[tp].append(delivery)
        generation = self.app.consumer_generation_id
        return _BatchMessage(delivery, tp, records, generation_id=generation)

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing to do: room is looked up before each fetch and each delivery."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Nothing to do: see `on_buffer_full`."""

    # Acknowledgement

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        for tp, deliveries in list(self._delivered.items()):
            named = topics is None or tp in topics or tp.topic in topics
            if named and deliveries and deliveries[0].acked:
                yield tp

    def _new_offset(self, tp: TP) -> int | None:
        """The offset to commit, after the last batch of an unbroken row of acknowledged ones."""
        deliveries, offset = self._delivered[tp], None
        while deliveries and deliveries[0].acked:
            offset = deliveries.popleft().end + 1
        self._forget_acks(tp)
        return offset

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Nothing to do: a batch covers the holes in its offsets."""

    def _forget_acks(self, tp: TP) -> None:
        """Drop Faust's own notes of acknowledged offsets, which nothing here reads."""
        self._acked.pop(tp, None)
        self._acked_index.pop(tp, None)

    # Change of position or of owner

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit what is acknowledged, also by the app's own handlers of the revocation."""
        await super().on_partitions_revoked(revoked)
        if not self.app.should_stop:  # else this consumer is closing, and commits by itself
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
        """Commit what is acknowledged, but do not wait for a broker that is away."""
        with suppress(TimeoutError):
            await asyncio.wait_for(super().on_stop(), _STOP_SECONDS)

    def _forget(self, tps: Iterable[TP]) -> None:
        for tp in tps:
            self._fetched.pop(tp, None)
            self._delivered.pop(tp, None)
            self._forget_acks(tp)


class Producer(driver.Producer):  # type: ignore[misc]
    """The aiokafka driver's, which does not keep a worker from ending while its broker is away.

    Faust waits for what is on its way, by aiokafka for 20 minutes. Whoever must know that a
    message has arrived waits for its acknowledgement.
    """

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
