"""Where the first batch of a partition may begin: not after messages that no record contains.

Kafka hands a partition over at the committed offset. Redis may be behind it:

- It has lost its last checkpoints (a failover to a replica that was behind). Its offset is lower
  than Kafka's, and the messages in between are read again.
- It has lost everything. There is no state, although messages were read before. All that Kafka
  still has is read again, and the loss is logged and counted: what Kafka no longer has is lost.

Batches that were fetched before the seek arrive first, each beginning later than the one before,
and are skipped. The first one that does not begin later is where Kafka's messages begin.
"""

from __future__ import annotations

import logging
from typing import Any

from monitor.metrics import Metrics

log = logging.getLogger(__name__)

_LOST = (
    "Redis has no state of this partition, although its messages were read before: Redis has lost "
    "its data, or XM_REDIS_URL names another one. All that Kafka still has is read again."
)


class Starts:
    """Checks the first batch of each partition.

    Args:
        app: the Faust app.
        metrics: counts losses.
    """

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        self._offsets: dict[str, int] = {}  # in Redis, of partitions that have no batch yet
        self._skipped: dict[str, int] = {}  # where the last skipped batch began

    def assigned(self, name: str, offset: int) -> None:
        """Note the offset in Redis of a partition that was assigned; 0 without a state."""
        self._offsets[name] = offset

    def clear(self) -> None:
        """Forget all partitions."""
        self._offsets.clear()
        self._skipped.clear()

    async def must_skip(self, tp: Any, name: str, first: int) -> bool:
        """Whether a batch begins after messages that were not observed; seeks to them if so.

        Args:
            tp: the partition, as Faust names it.
            name: as the operator names it.
            first: offset of the batch's first message.
        """
        if name not in self._offsets:
            return False
        offset = self._offsets[name]
        if name not in self._skipped and first > offset:
            offset = await self._start(tp, name, offset, first)
            if first > offset:
                await self._app.consumer.seek(tp, offset)
        if first <= self._skipped.get(name, offset):
            del self._offsets[name]
            self._skipped.pop(name, None)
            return False
        self._skipped[name] = first
        return True

    async def _start(self, tp: Any, name: str, offset: int, first: int) -> int:
        """The offset from which a partition must be read."""
        if offset:
            log.info("store_behind name=%s offset=%d committed=%d", name, offset, first)
            return offset
        earliest = int((await self._app.consumer.earliest_offsets(tp))[tp])
        if first > earliest:
            self._metrics.state_losses.labels(tp.topic).inc()
            log.error(
                "state_lost name=%s committed=%d earliest=%d reason=%r",
                name, first, earliest, _LOST,
            )  # fmt: skip
        return earliest
