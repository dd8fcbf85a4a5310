"""Where the partitions of topics begin, for those who name what a result rests on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from monitor.config import Settings
from monitor.requests.decoder import MAX_AHEAD
from pipelines.kafka.security import client_options

_PAUSE = 30.0  # seconds after a failure without another question


class Offsets:
    """Asks Kafka for offsets, on one connection. Threads may share it.

    Args:
        settings: name Kafka and its login.
        timeout: seconds to wait for an answer; whoever asks can do without one.
    """

    def __init__(self, settings: Settings, timeout: float = 2.0) -> None:
        self._settings = settings
        self._timeout_ms = int(1000 * timeout)
        self._lock = threading.Lock()
        self._client: Any = None
        self._asks_again = 0.0

    def earliest(self, names: Sequence[str]) -> dict[str, int]:
        """The first offset that each partition still has, by its name, "<topic>:<number>".

        Empty if Kafka does not say.
        """
        return self._offsets(names, lambda client, tps: client.beginning_offsets(tps))

    def ends(self, names: Sequence[str]) -> dict[str, int]:
        """The offset after the last message of each partition; empty if Kafka does not say."""
        return self._offsets(names, lambda client, tps: client.end_offsets(tps))

    def partitions(self, topic: str) -> list[int]:
        """The numbers of a topic's partitions; empty if Kafka does not say."""
        return sorted(self._ask(lambda client: client.partitions_for_topic(topic)) or ())

    def begins_before(self, name: str, at: float) -> bool:
        """Whether a partition still has all requests since an event time, epoch seconds.

        A message arrives at most MAX_AHEAD before the time that its request claims, else it is
        rejected.
        """
        earliest = self.earliest([name]).get(name)
        if not earliest:
            return earliest == 0
        tp, ms = _partition(name), int(1000 * (at - MAX_AHEAD))
        found = self._ask(lambda client: client.offsets_for_times({tp: ms})[tp])
        return found is not None and found.offset > earliest

    def _offsets(self, names: Sequence[str], ask: Callable[[Any, Any], Any]) -> dict[str, int]:
        tps = {_partition(name): name for name in names}
        found = self._ask(lambda client: ask(client, list(tps))) if tps else None
        return {tps[tp]: int(offset) for tp, offset in (found or {}).items()}

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
                        bootstrap_timeout_ms=self._timeout_ms,
                        request_timeout_ms=self._timeout_ms,
                    )
                return question(self._client)
            except KafkaError:
                self._asks_again = time.monotonic() + _PAUSE
                if self._client is not None:
                    self._client.close()
                self._client = None
                return None


def _partition(name: str) -> TopicPartition:
    topic, _, number = name.rpartition(":")
    return TopicPartition(topic, int(number))
