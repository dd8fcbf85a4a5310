"""Intake: from the lines and bodies of a source to messages in the spool."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from monitor.backoff import pauses
from monitor.errors import RegistryUnavailableError
from monitor.requests.decoder import Decoder
from pipelines.forward.keying import Keyed, keyed
from pipelines.forward.metrics import ForwardMetrics
from pipelines.forward.spool import Spool, SpoolError

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0  # seconds between attempts


class Intake:
    """Finds the keys of requests, and stores them.

    Args:
        decoder: of the requests.
        spool: takes the messages.
        metrics: counts.
    """

    def __init__(self, decoder: Decoder, spool: Spool, metrics: ForwardMetrics) -> None:
        self._decoder, self._spool, self._metrics = decoder, spool, metrics
        self._thread = ThreadPoolExecutor(1, "decode")  # decoders are for one thread

    async def read(self, values: Sequence[bytes]) -> Keyed:
        """Find the keys of requests.

        Raises:
            RegistryUnavailableError: a schema cannot be fetched now.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, keyed, self._decoder, values)

    async def accept(self, kind: str, found: Keyed) -> None:
        """Store requests that a client sends; on disk on return.

        Args:
            kind: of the source, for metrics.

        Raises:
            SpoolFullError: there is no room.
            SpoolError: the disk fails.
        """
        await self._spool.put(found.messages, wait=False)
        self._count(kind, found)

    async def store(
        self, kind: str, values: Sequence[bytes], source: str, position: bytes | None
    ) -> None:
        """Store requests of a source with a position. Waits, and retries, until that is done."""
        waits = pauses(_FIRST_PAUSE, _LONGEST_PAUSE)
        failed = False
        while True:
            try:
                found = await self.read(values)
                await self._spool.put(found.messages, source, position)
            except (SpoolError, RegistryUnavailableError) as error:
                if not failed:
                    log.error("not_stored source=%s reason=%r", kind, str(error))
                failed = True
                await asyncio.sleep(next(waits))
            else:
                if failed:
                    log.info("stored_again source=%s", kind)
                self._count(kind, found)
                return

    def _count(self, kind: str, found: Keyed) -> None:
        self._metrics.requests.labels(kind).inc(found.requests)
        for rejection in found.rejections:
            self._metrics.unreadable.labels(rejection.reason).inc()
        for reason, number in found.ignored.items():
            self._metrics.ignored.labels(reason).inc(number)
