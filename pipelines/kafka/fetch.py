"""An aiokafka consumer that hands over whole fetches instead of records.

aiokafka's fetcher wraps what a broker sends for a partition in two readers, and later drains them
record by record. Put in their place here are two that keep the bytes and yield `Records`; asking,
positions, back-off, errors and rebalances stay aiokafka's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from aiokafka.consumer.fetcher import READ_COMMITTED, Fetcher, PartitionRecords
from aiokafka.record.memory_records import MemoryRecords

from pipelines.kafka.record_batch import Records, is_current, read


def keep_whole(consumer: Any) -> None:
    """Have a started consumer, before it fetches, give `Records` for lists of records.

    Its `max_poll_records` becomes the most that are in one; it gives one at a time then.
    """
    fetcher, most = consumer._fetcher, consumer._max_poll_records
    fetch = _rebound(
        Fetcher._proc_fetch_request,
        MemoryRecords=RawBatches,
        PartitionRecords=partial(RawPartition, most),
    )
    fetcher._proc_fetch_request = MethodType(fetch, fetcher)
    consumer._max_poll_records = None if most is None else 1


def _rebound(function: FunctionType, **names: Any) -> FunctionType:
    """A function like the other, except that these names of its module mean something else."""
    return FunctionType(
        function.__code__,
        {**function.__globals__, **names},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )


class RawBatches(MemoryRecords):  # type: ignore[misc]
    """aiokafka's reader of a partition's batches, which itself lets nobody see the bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class RawPartition:
    """What was fetched of a partition, as `Records` of at most `most` each, all if that is `None`.

    Old formats, and what only transactions tell to leave out, are read by aiokafka's own reader.
    """

    def __init__(
        self,
        most: int | None,
        tp: Any,
        fetched: RawBatches,
        aborted: Any,
        position: int,
        *rest: Any,
    ) -> None:
        self.next_fetch_offset = position
        self._parts = self._read(most, tp, fetched, aborted, *rest)

    def __iter__(self) -> Iterator[Records]:
        return self._parts

    def _read(
        self,
        most: int | None,
        tp: Any,
        fetched: RawBatches,
        aborted: Any,
        _key_deserializer: Any,
        _value_deserializer: Any,
        check_crcs: bool,
        isolation: int,
    ) -> Iterator[Records]:
        position = self.next_fetch_offset
        if isolation != READ_COMMITTED and is_current(fetched.data):
            records, following = read(fetched.data, position, check_crcs=check_crcs)
        else:
            one_by_one = PartitionRecords(
                tp, fetched, aborted, position, None, None, check_crcs, isolation
            )
            records, following = Records.of(list(one_by_one)), one_by_one.next_fetch_offset
        step = most or max(1, len(records))
        for start in range(0, len(records), step):
            part = records[start : start + step]
            self.next_fetch_offset = int(part.offsets[-1]) + 1
            yield part
        self.next_fetch_offset = following
