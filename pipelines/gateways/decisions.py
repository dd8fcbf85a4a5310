"""Finds the decision on a request within half a second, whatever the store does.

1. Memory answers for a second after each reading of the store.
2. Other subjects are asked for in batches: while one batch is on its way, the next one fills. So a
   thousand waiting requests cost the store one round trip.
3. A batch that fails or takes longer than half a second opens the circuit: from then on memory
   alone answers, at once, until a probe finds that the store works.

If neither memory nor the store knows, the answer is `known = False`, and the request should pass:
the monitor must not take the API down. A decision that memory has stays in force meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from monitor.alerting.decisions import ActiveDecision, stronger
from monitor.backoff import pauses
from monitor.store.base import Store
from pipelines.gateways.memory import DecisionMemory

log = logging.getLogger(__name__)

LOOKUP_SECONDS = 0.5  # within which every lookup is answered
_MOST_PENDING = 20_000  # subjects that wait for the store; a further request passes at once
_PROBES = (0.1, 2.0)  # seconds between probes of a store that fails, the first and the longest
_PROBED = ["k_"]  # a subject that no decision is about


class Found(NamedTuple):
    """What is known about the subjects of a request.

    Attributes:
        decision: the strongest in force; `None` without any.
        known: whether the store or memory answered for all subjects.
    """

    decision: ActiveDecision | None
    known: bool


class _Batch:
    """Subjects that are read together; `done` tells whether the store answered."""

    def __init__(self) -> None:
        self.subjects: set[str] = set()
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


class Decisions:
    """Finds decisions without blocking the event loop, and never raises. Use it from one loop.

    Args:
        store: has the decisions; may be slow or away. Its own timeout should not exceed
            LOOKUP_SECONDS.
        memory: default: an empty one.
    """

    def __init__(self, store: Store, memory: DecisionMemory | None = None) -> None:
        self._store = store
        self._memory = memory or DecisionMemory()
        # One call at a time, and a thread for probes: the call before may still hang.
        self._threads = ThreadPoolExecutor(2, "lookup")
        self._open: _Batch | None = None  # fills
        self._sent: _Batch | None = None  # is on its way
        self._probing: asyncio.Task[None] | None = None  # while the circuit is open
        self._failed = 0  # lookups since the circuit opened

    async def find(self, subjects: Sequence[str]) -> Found:
        """The strongest decision in force on any of some subjects (pseudonyms)."""
        now = time.monotonic()
        unsure = {each for each in subjects if not self._memory.is_fresh(each, now)}
        known = not unsure or await self._read(unsure)
        wall = time.time()
        decision = stronger(self._memory.get(each, wall) for each in subjects)
        if not known:
            self._failed += 1
        return Found(decision, known)

    def add(self, decisions: Iterable[ActiveDecision]) -> None:
        """Remember decisions that this process has just put into force."""
        now, wall = time.monotonic(), time.time()
        for decision in decisions:
            self._memory.add(decision, now, wall)

    async def close(self) -> None:
        """Stop probing and forget waiting lookups."""
        if self._probing is not None:
            self._probing.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _read(self, subjects: set[str]) -> bool:
        """Read subjects into memory; whether the store answered in time."""
        if self._probing is not None:
            return False
        batch = self._sent
        if batch is None or not subjects <= batch.subjects:
            batch = self._open = self._open or _Batch()
            if len(batch.subjects) + len(subjects) > _MOST_PENDING:
                return False
            batch.subjects |= subjects
            if self._sent is None:
                self._send()
        try:
            # Shielded: others wait for the same batch.
            return await asyncio.wait_for(asyncio.shield(batch.done), LOOKUP_SECONDS)
        except TimeoutError:
            self._break(f"No answer within {LOOKUP_SECONDS:g} s.")
            return False

    def _send(self) -> None:
        """Read the open batch in a thread; the next one fills meanwhile."""
        batch, self._open = self._open, None
        self._sent = batch
        if batch is None:
            return
        asked_at, subjects = time.monotonic(), list(batch.subjects)
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(self._threads, self._store.decisions, subjects)

        def received(reading: asyncio.Future[list[ActiveDecision | None]]) -> None:
            if reading.cancelled():
                return
            error = reading.exception()
            if error is not None:
                if batch is self._sent:  # else it was given up
                    self._break(str(error))
                return
            for subject, decision in zip(subjects, reading.result(), strict=True):
                self._memory.put(subject, decision, asked_at)
            if batch is self._sent:
                batch.done.set_result(True)
                self._send()

        reading.add_done_callback(received)

    def _break(self, reason: str) -> None:
        """Open the circuit: give up what waits, and stop waiting until the store works."""
        for batch in (self._sent, self._open):
            if batch is not None:
                batch.done.set_result(False)
        self._sent = self._open = None
        if self._probing is None:
            log.warning("lookups_failed reason=%r", reason)
            self._failed = 0
            self._probing = asyncio.get_running_loop().create_task(self._probe())

    async def _probe(self) -> None:
        """Ask the store until it answers, then close the circuit."""
        loop = asyncio.get_running_loop()
        for pause in pauses(*_PROBES):
            await asyncio.sleep(pause)
            probe = loop.run_in_executor(self._threads, self._store.decisions, _PROBED)
            try:
                await asyncio.wait_for(probe, LOOKUP_SECONDS)
            except Exception:  # whatever it is, the circuit must close some time
                continue
            log.warning("lookups_back failed=%d", self._failed)
            self._probing = None
            return
