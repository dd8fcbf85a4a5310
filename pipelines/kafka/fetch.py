"""Makes an aiokafka consumer deliver whole fetches as `Records` instead of single records.

aiokafka's fetcher parses a broker's response with two classes, `MemoryRecords` and
`PartitionRecords`, and later drains them record by record. This module gives one fetcher its own
copies of them, which keep the bytes. Requests, positions, retries, errors and rebalances remain
aiokafka's. aiokafka has no public way to do this, and a Python object per record costs about a
tenth of the worker's time. So the import checks that the replaced names exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from inspect import signature
from types import FunctionType, MethodType
from typing import Any

import aiokafka
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.record.memory_records import MemoryRecords

from pipelines.kafka.record_batch import Records, decode, is_current

_PARTITION_RECORDS = [
    "tp",
    "records",
    "aborted_transactions",
    "fetch_offset",
    "key_deserializer",
    "value_deserializer",
    "check_crcs",
    "isolation_level",
]


def check_aiokafka() -> None:
    """Raise unless this aiokafka parses fetches as `deliver_whole_fetches` expects.

    Raises:
        ImportError: names the version.
    """
    parses = Fetcher._proc_fetch_request.__code__.co_names
    drains = FetchResult.getall.__code__.co_names
    if (
        not {"MemoryRecords", "PartitionRecords"} <= {*parses}
        or "_partition_records" not in drains
        or [*signature(PartitionRecords).parameters] != _PARTITION_RECORDS
    ):
        raise ImportError(
            f"aiokafka {aiokafka.__version__} parses fetches in another way than this program "
            "expects: install a version that pyproject.toml allows, `pip install 'aiokafka<0.15'`."
        )


check_aiokafka()


def deliver_whole_fetches(consumer: Any) -> None:
    """Change a started consumer, before its first fetch, to deliver `Records`.

    `getmany` then returns a list of one `Records` per partition, of at most `max_poll_records`.
    """
    fetcher, limit = consumer._fetcher, consumer._max_poll_records
    fetch = _rebound(
        Fetcher._proc_fetch_request,
        MemoryRecords=RawBatches,
        PartitionRecords=partial(RawPartition, limit),
    )
    fetcher._proc_fetch_request = MethodType(fetch, fetcher)
    consumer._max_poll_records = None if limit is None else 1


def _rebound(function: FunctionType, **names: Any) -> FunctionType:
    """A copy of a function in which these global names have other values."""
    return FunctionType(
        function.__code__,
        {**function.__globals__, **names},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )


class RawBatches(MemoryRecords):  # type: ignore[misc]
    """aiokafka's parser of a partition's batches, with access to the bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class RawPartition:
    """The fetched part of a partition, in `Records` of at most `limit` each (`None`: one).

    Old message formats and fetches with aborted transactions are left to aiokafka's own parser.
    """

    def __init__(
        self,
        limit: int | None,
        tp: Any,
        fetched: RawBatches,
        aborted: Any,
        position: int,
        *rest: Any,
    ) -> None:
        self.next_fetch_offset = position
        self._parts = self._decode(limit, tp, fetched, aborted, *rest)

    def __iter__(self) -> Iterator[Records]:
        return self._parts

    def _decode(
        self,
        limit: int | None,
        tp: Any,
        fetched: RawBatches,
        aborted: Any,
        _key_deserializer: Any,
        _value_deserializer: Any,
        check_crcs: bool,
        isolation: int,
    ) -> Iterator[Records]:
        position = self.next_fetch_offset
        if not aborted and is_current(fetched.data):
            records, following = decode(fetched.data, position, check_crcs=check_crcs)
        else:
            one_by_one = PartitionRecords(
                tp, fetched, aborted, position, None, None, check_crcs, isolation
            )
            records, following = Records.of(list(one_by_one)), one_by_one.next_fetch_offset
        step = limit or max(1, len(records))
        for start in range(0, len(records), step):
            part = records[start : start + step]
            self.next_fetch_offset = int(part.offsets[-1]) + 1
            yield part
        self.next_fetch_offset = following
