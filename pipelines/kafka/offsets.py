"""Where the partitions of topics begin, for those who name what a result rests on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from monitor.config import Settings
from monitor.requests.decoder import MAX_AHEAD
from pipelines.kafka.security import client_options

_TIMEOUT_MS = 2_000  # whoever asks can do without an answer
_PAUSE = 30.0  # seconds after a failure without another question


class Offsets:
    """Asks Kafka for offsets, on one connection. Threads may share it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._client: Any = None
        self._asks_again = 0.0

    def earliest(self, topic: str, partition: int) -> int | None:
        """The first offset that a partition still has; `None` if Kafka does not say."""
        tp = TopicPartition(topic, partition)
        found = self._ask(lambda consumer: consumer.beginning_offsets([tp])[tp])
        return None if found is None else int(found)

    def end(self, topic: str, partition: int) -> int | None:
        """The offset after the last message of a partition; `None` if Kafka does not say."""
        tp = TopicPartition(topic, partition)
        found = self._ask(lambda consumer: consumer.end_offsets([tp])[tp])
        return None if found is None else int(found)

    def begins_before(self, topic: str, partition: int, at: float) -> bool:
        """Whether a partition still has all requests since an event time, epoch seconds.

        A message arrives at most MAX_AHEAD before the time that its request claims, else it is
        rejected.
        """
        earliest = self.earliest(topic, partition)
        if not earliest:
            return earliest == 0
        tp, ms = TopicPartition(topic, partition), int(1000 * (at - MAX_AHEAD))
        found = self._ask(lambda consumer: consumer.offsets_for_times({tp: ms})[tp])
        return found is not None and found.offset > earliest

    def close(self) -> None:
        """Close the connection; another call opens a new one."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        """The answer to a question; `None` if Kafka does not give one, or did not lately."""
        with self._lock:
            if time.monotonic() < self._asks_again:
                return None
            try:
                if self._client is None:
                    self._client = KafkaConsumer(
                        **client_options(self._settings.kafka, self._settings.kafka_security),
                        client_id="extraction-monitor",
                        enable_auto_commit=False,
                        bootstrap_timeout_ms=_TIMEOUT_MS,
                        request_timeout_ms=_TIMEOUT_MS,
                    )
                return question(self._client)
            except KafkaError:
                self._asks_again = time.monotonic() + _PAUSE
                if self._client is not None:
                    self._client.close()
                self._client = None
                return None
