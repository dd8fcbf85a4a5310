"""Says when Kafka does not accept what the worker sends, instead of waiting in silence.

A topic that is missing, or that the worker may not write to, stops a partition: its messages are
observed no further, because no output may be lost. Nothing is lost by waiting, but an operator must
hear of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 10.0  # until waiting is trouble


class Patience:
    """What the worker has been waiting for, for too long."""

    def __init__(self) -> None:
        self._late: Counter[str] = Counter()  # by topic

    @property
    def trouble(self) -> str | None:
        """Which topics do not accept messages; `None` if all do."""
        topics = ", ".join(sorted(self._late))
        return (
            f"Kafka has not accepted messages for {topics} for {PATIENCE_SECONDS:g} s: check that "
            "it runs, that the topic exists (xm topics create) and that the worker may write to it."
            if topics
            else None
        )

    @contextmanager
    def waiting(self, *topics: str) -> Iterator[None]:
        """Around a wait for Kafka to accept messages for some topics."""
        late = False

        def note() -> None:
            nonlocal late
            late = True
            self._late.update(topics)
            log.error("kafka_waits topics=%s reason=%r", ",".join(topics), self.trouble)

        timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, note)
        try:
            yield
        finally:
            timer.cancel()
            if late:
                self._late -= Counter(topics)
                log.warning("kafka_accepts topics=%s", ",".join(topics))
