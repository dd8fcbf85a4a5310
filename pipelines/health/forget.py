"""Forgets subjects that a person wants erased, in the memory of this worker.

A worker may get a partition later than the request, so each partition is noted by itself. What is
still on its way, such as a fingerprint in Kafka, may bring a subject back. So it is forgotten again
for a minute; a worker that starts within an hour does so too, because it may read some again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from monitor.errors import StoreError
from monitor.store.operate.erasure import ErasureStore

_AGAIN_SECONDS = 60.0
_RECENT_SECONDS = 3_600.0  # age of a request that a new worker follows again

log = logging.getLogger(__name__)


class Worker(Protocol):
    """What forgets: the state of some partitions."""

    @property
    def partitions(self) -> list[str]:
        """Their names."""

    async def forget(self, subjects: Sequence[str]) -> bool:
        """Forget subjects, and write that; whether the store took it."""


class Forgetter:
    """Follows the requests to erase.

    Args:
        store: has the requests.
        worker: forgets.
    """

    def __init__(self, store: ErasureStore, worker: Worker) -> None:
        self._store, self._worker = store, worker
        self._again: dict[str, float] = {}  # by subject, until when it is forgotten again
        self._is_new = True

    async def forget(self) -> None:
        """Forget what is to be forgotten and has not been."""
        with suppress(StoreError):  # checkpoints report it, and the next call does it
            await self._forget()

    async def _forget(self) -> None:
        requests = await asyncio.to_thread(self._store.requests)
        now = time.monotonic()
        self._again = {subject: until for subject, until in self._again.items() if now < until}
        if self._is_new:
            recent = (each for each in requests if time.time() - each.at < _RECENT_SECONDS)
            self._again = dict.fromkeys((each.subject for each in recent), now + _AGAIN_SECONDS)
            self._is_new = False
        if not requests:
            return
        done = await asyncio.to_thread(self._store.done)
        due = {
            (each.id, partition): each.subject
            for partition in self._worker.partitions
            for each in requests
            if (each.id, partition) not in done
        }
        subjects = {*due.values(), *self._again}
        if subjects and await self._worker.forget(sorted(subjects)):
            held = {*self._worker.partitions}
            await asyncio.to_thread(
                self._store.mark_done, [pair for pair in due if pair[1] in held]
            )
            self._again |= dict.fromkeys(due.values(), now + _AGAIN_SECONDS)
            if due:
                log.info("forgotten subjects=%d", len({*due.values()}))
