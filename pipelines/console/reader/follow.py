"""Reads the topics of alerts, decisions, the audit and fingerprints from where it stopped.

How far it is lies in the view, in the transaction of what was read: nothing is lost or counted
twice. Topics are read without a group, so workers do not notice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from monitor.alerting.alerts import Alert
from monitor.alerting.changes import Change
from monitor.campaigns.fingerprint import from_messages, split
from monitor.config import Settings
from monitor.errors import ConfigError
from pipelines.console.reader import alerts, changes, subjects
from pipelines.console.reader.cost import Prices
from pipelines.console.view.database import Writer
from pipelines.gateways.applied import Applied
from pipelines.kafka.security import client_options

log = logging.getLogger(__name__)

_TIMEOUT_MS = 8_000
_POLL_MS = 500
_RECORDS = 2_000  # per transaction
_FETCH = 8 << 20  # bytes
_LOOK_SECONDS = 30.0  # between two looks for new topics and partitions
_FINGERPRINT_SECONDS = 3600.0


class Topics:
    """What the topics add to the view.

    Args:
        writer: of the view, not shared with other threads.
    """

    def __init__(self, settings: Settings, writer: Writer, prices: Prices) -> None:
        self._settings, self._writer, self._prices = settings, writer, prices
        names = settings.topics
        self._add = {
            names.audit: self._audit,
            names.alerts: self._alerts,
            names.decisions: self._decisions,
            names.fingerprints: self._fingerprints,
        }

    def follow(self, stopping: Any, reading: Callable[[], None]) -> None:
        """Read until the event `stopping` is set.

        Args:
            reading: called once Kafka has answered.

        Raises:
            ConfigError: if Kafka is down or refuses.
        """
        with _consumer(self._settings) as consumer:
            # The audit first: it says what was erased, which the other topics may still have.
            audit = self._partitions(consumer, [self._settings.topics.audit])
            self._seek(consumer, audit)
            reading()
            ends = consumer.end_offsets(audit)
            while not stopping.is_set() and any(consumer.position(tp) < ends[tp] for tp in audit):
                self._poll(consumer)
            while not stopping.is_set():
                partitions = self._partitions(consumer, self._add)
                if {*partitions} != consumer.assignment():
                    self._seek(consumer, partitions)
                end = time.monotonic() + _LOOK_SECONDS
                while time.monotonic() < end and not stopping.is_set():
                    self._poll(consumer)

    def _partitions(self, consumer: Any, topics: Iterable[str]) -> list[Any]:
        return [
            TopicPartition(topic, number)
            for topic in topics
            for number in sorted(consumer.partitions_for_topic(topic) or ())
        ]

    def _seek(self, consumer: Any, partitions: list[Any]) -> None:
        """Go to where this stopped, or to the beginning if that is gone."""
        consumer.assign(partitions)
        first, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        begin = first | self._lately(consumer, end)
        for tp in partitions:
            known = self._writer.progress(_name(tp))
            at = int(known) if known else begin[tp]
            consumer.seek(tp, at if first[tp] <= at <= end[tp] else first[tp])

    def _lately(self, consumer: Any, ends: dict[Any, int]) -> dict[Any, int]:
        """Where to begin with fingerprints: the linker's rows have those before."""
        since = int(1000 * (time.time() - _FINGERPRINT_SECONDS))
        topic = self._settings.topics.fingerprints
        wanted = {tp: since for tp in ends if tp.topic == topic}
        found = consumer.offsets_for_times(wanted) if wanted else {}
        return {tp: ends[tp] if place is None else place.offset for tp, place in found.items()}

    def _poll(self, consumer: Any) -> None:
        if not consumer.assignment():  # no topic exists yet
            time.sleep(_POLL_MS / 1000.0)
            return
        found = consumer.poll(timeout_ms=_POLL_MS, max_records=_RECORDS)
        if found:
            with self._writer.transaction():
                for tp, records in found.items():
                    self.add(tp.topic, records)
                    self._writer.note(_name(tp), str(records[-1].offset + 1))

    def add(self, topic: str, records: list[Any]) -> None:
        """Write records of a topic, in the transaction of the caller."""
        self._add[topic](records, changes.forgotten(self._writer.connection))

    def _audit(self, records: list[Any], _: dict[str, float]) -> None:
        decoded = (_decode(record, Change) for record in records)
        changes.add_changes(self._writer.connection, (each for each in decoded if each))

    def _alerts(self, records: list[Any], forgotten: dict[str, float]) -> None:
        seen = []
        for record in records:
            alert, at = _decode(record, Alert), record.timestamp / 1000.0
            if alert is not None and at > forgotten.get(alert.subject.id, -1.0):
                seen.append(alerts.Seen(alert, at))
        alerts.add_alerts(self._writer.connection, seen)

    def _decisions(self, records: list[Any], forgotten: dict[str, float]) -> None:
        for record in records:
            subject, at = (record.key or b"").decode("utf-8", "replace"), record.timestamp / 1000.0
            applied = _decode(record, Applied) if record.value else None
            if subject and at > forgotten.get(subject, -1.0):
                changes.add_applied(self._writer.connection, subject, applied, at)

    def _fingerprints(self, records: list[Any], forgotten: dict[str, float]) -> None:
        values, times = [], []
        for record in records:
            parts = split(record.value or b"")
            values += parts
            times += [record.timestamp / 1000.0] * len(parts)
        found, keys, which = from_messages(values)
        kept = [
            i
            for i, (key, n) in enumerate(zip(keys, which, strict=True))
            if times[n] > forgotten.get(key, -1.0)
        ]
        if kept:
            subjects.add_fingerprints(
                self._writer.connection, found[kept], [keys[i] for i in kept], self._prices
            )


def _name(tp: Any) -> str:
    return f"topic:{tp.topic}:{tp.partition}"


def _decode(record: Any, form: Any) -> Any:
    """The value of a record; `None` for one that this version cannot read."""
    try:
        return msgspec.json.decode(record.value or b"", type=form)
    except msgspec.MsgspecError as error:
        log.warning(
            "message_unreadable topic=%s offset=%d reason=%r",
            record.topic,
            record.offset,
            str(error),
        )
        return None


@contextmanager
def _consumer(settings: Settings) -> Iterator[Any]:
    """A consumer of no group, whose errors are raised as `ConfigError`."""
    consumer = None
    try:
        consumer = KafkaConsumer(
            **client_options(settings.kafka, settings.kafka_security),
            client_id="extraction-monitor-console",
            enable_auto_commit=False,
            request_timeout_ms=_TIMEOUT_MS,
            fetch_max_bytes=_FETCH,
        )
        yield consumer
    except KafkaError as error:
        raise ConfigError(
            f"Kafka at {settings.kafka} does not let its topics be read ({type(error).__name__}): "
            "start it, or grant the permission to this client."
        ) from error
    finally:
        if consumer is not None:
            consumer.close()
