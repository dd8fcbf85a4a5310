"""Reads named offsets of a topic's partitions, in the order in which their messages arrived."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from monitor.batch import Batch
from monitor.config import Settings
from monitor.errors import ConfigError
from pipelines.kafka.security import client_options

_TIMEOUT_MS = 8_000
_POLL_MS = 500
_QUIET_SECONDS = 30.0  # without a message, after which the rest of a range counts as gone
_AT_END_SECONDS = 1.5  # the same at the end of the partition; some brokers name it a batch too low
_TOGETHER_MS = 5_000  # messages of a partition that arrived within it are one batch at most


class Range(NamedTuple):
    """Offsets of one partition, from `first` up to, not including, `end`."""

    topic: str
    partition: int
    first: int
    end: int

    @property
    def name(self) -> str:
        return f"{self.topic}:{self.partition}"


class _Message(NamedTuple):
    """A message in the order of its fields. `arrived` never falls within a partition, ms."""

    arrived: int
    name: str
    offset: int
    timestamp: int
    value: bytes | None


class RangeReader:
    """Reads ranges of offsets.

    Args:
        settings: name Kafka and its login.
        batch: messages in a batch at most.

    Attributes:
        found: messages read, by partition.
        gone: a sentence for each part of a range that Kafka does not have any more.
    """

    def __init__(self, settings: Settings, batch: int = 4_000) -> None:
        self._settings = settings
        self._batch = batch
        self.found: dict[str, int] = {}
        self.gone: dict[str, str] = {}

    def batches(self, ranges: Sequence[Range]) -> Iterator[Batch]:
        """The messages of ranges of different partitions, each partition's in order.

        Partitions take turns every few seconds of arrival, as workers of one pace read them.

        Raises:
            ConfigError: if Kafka is down, refuses, or a topic is missing.
        """
        try:
            with ExitStack() as stack:
                streams = []
                for each in ranges:
                    consumer = stack.enter_context(closing(self._consumer(each)))
                    streams.append(self._read(consumer, each))
                merged = heapq.merge(*streams, key=lambda m: (m.arrived // _TOGETHER_MS, m.name))
                parts = groupby(merged, lambda m: (m.arrived // _TOGETHER_MS, m.name))
                for (_, name), messages in parts:
                    yield from self._batches(name, messages)
        except KafkaError as error:
            raise ConfigError(
                f"Kafka at {self._settings.kafka} does not let the offsets be read "
                f"({type(error).__name__}): start it, or grant the permission to this client."
            ) from error

    def _consumer(self, wanted: Range) -> Any:
        consumer = KafkaConsumer(
            **client_options(self._settings.kafka, self._settings.kafka_security),
            client_id="extraction-monitor",
            enable_auto_commit=False,
            request_timeout_ms=_TIMEOUT_MS,
            fetch_max_bytes=16 << 20,
        )
        if wanted.partition not in (consumer.partitions_for_topic(wanted.topic) or ()):
            consumer.close()
            raise ConfigError(
                f"Kafka at {self._settings.kafka} has no partition {wanted.name}: point XM_KAFKA "
                "at the cluster that the case is from, or reproduce it from files with --files."
            )
        return consumer

    def _read(self, consumer: Any, wanted: Range) -> Iterator[_Message]:
        tp = TopicPartition(wanted.topic, wanted.partition)
        consumer.assign([tp])
        first = max(wanted.first, consumer.beginning_offsets([tp])[tp])
        if first > wanted.first:
            self.gone[wanted.name] = (
                f"Kafka has deleted the offsets {wanted.first:,} to {min(first, wanted.end) - 1:,} "
                f"of {wanted.name}: they are older than the topic's retention."
            )
        arrived, heard = 0, time.monotonic()
        self.found[wanted.name] = 0
        if first >= wanted.end:
            return
        consumer.seek(tp, first)
        while consumer.position(tp) < wanted.end:
            records = consumer.poll(timeout_ms=_POLL_MS).get(tp, ())
            for record in records:
                if record.offset >= wanted.end:
                    return
                arrived = max(arrived, record.timestamp or 0)
                self.found[wanted.name] += 1
                timestamp = -1 if record.timestamp is None else record.timestamp
                yield _Message(arrived, wanted.name, record.offset, timestamp, record.value)
            if records:
                heard = time.monotonic()
            elif time.monotonic() - heard > self._patience(consumer, tp):
                self.gone[wanted.name] = (
                    f"{wanted.name} ends at offset {consumer.position(tp):,}, before "
                    f"{wanted.end:,}: it is another topic of this name, or Kafka has lost data."
                )
                return

    def _patience(self, consumer: Any, tp: TopicPartition) -> float:
        """Seconds to wait for the next message of a partition."""
        at_end = consumer.position(tp) >= consumer.end_offsets([tp])[tp]
        return _AT_END_SECONDS if at_end else _QUIET_SECONDS

    def _batches(self, name: str, messages: Iterator[_Message]) -> Iterator[Batch]:
        part: list[_Message] = []
        for message in messages:
            part.append(message)
            if len(part) == self._batch:
                yield _batch(name, part)
                part = []
        if part:
            yield _batch(name, part)


def _batch(name: str, part: Sequence[_Message]) -> Batch:
    arrivals = np.array([each.timestamp for each in part]) / 1000
    return Batch(name, [each.offset for each in part], [each.value for each in part], arrivals)
