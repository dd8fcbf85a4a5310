"""Reads a whole topic, or single messages, without a group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from monitor.config import Settings
from monitor.errors import ConfigError
from pipelines.kafka.security import client_options
from pipelines.kafka.topics import check_topics

_TIMEOUT_MS = 8_000
_POLL_MS = 500


def read_topic(settings: Settings, topic: str) -> Iterator[bytes]:
    """The values on a topic that it had at the beginning, in order within each partition.

    Raises:
        ConfigError: if Kafka is down or refuses, or a topic is missing.
    """
    check_topics(settings)
    for record in read_records(settings, topic):
        if record.value is not None:
            yield record.value


def read_records(settings: Settings, topic: str, since: float | None = None) -> Iterator[Any]:
    """The records on a topic that it had at the beginning, in order within each partition.

    Args:
        since: only those that arrived from then on, epoch seconds.

    Raises:
        ConfigError: if Kafka is down or refuses.
    """
    with _consumer(settings, topic) as consumer:
        numbers = consumer.partitions_for_topic(topic) or ()
        partitions = [TopicPartition(topic, n) for n in numbers]
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(partitions)
        more = True
        # Some brokers leave the last batch out of the end offset.
        while more or any(consumer.position(each) < ends[each] for each in partitions):
            found = consumer.poll(timeout_ms=_POLL_MS)
            more = bool(found)
            for records in found.values():
                yield from (
                    record
                    for record in records
                    if since is None or record.timestamp >= 1000.0 * since
                )


def read_messages(settings: Settings, places: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Single messages of one partition, as far as Kafka still has them.

    Args:
        places: `<topic>:<partition>:<offset>`, in order.

    Raises:
        ConfigError: if Kafka is down or refuses.
    """
    topic, number, first = places[0].split(":")
    tp, last, wanted = TopicPartition(topic, int(number)), int(places[-1].split(":")[2]), {*places}
    with _consumer(settings, topic) as consumer:
        consumer.assign([tp])
        consumer.seek(tp, max(int(first), consumer.beginning_offsets([tp])[tp]))
        while consumer.position(tp) <= last and (found := consumer.poll(timeout_ms=_TIMEOUT_MS)):
            for record in found[tp]:
                place = f"{topic}:{number}:{record.offset}"
                if place in wanted and record.value is not None:
                    yield place, record.value


@contextmanager
def _consumer(settings: Settings, topic: str) -> Iterator[Any]:
    """A consumer of no group, whose errors are raised as `ConfigError`."""
    try:
        with closing(
            KafkaConsumer(
                **client_options(settings.kafka, settings.kafka_security),
                client_id="extraction-monitor",
                enable_auto_commit=False,
                request_timeout_ms=_TIMEOUT_MS,
            )
        ) as consumer:
            yield consumer
    except KafkaError as error:
        raise ConfigError(
            f"Kafka at {settings.kafka} does not let {topic} be read ({type(error).__name__}): "
            "start it, or grant the permission to this client."
        ) from error
