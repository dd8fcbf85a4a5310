"""Fills the copy of the decisions from Redis and follows the changes.

1. Note the position of the feed, then read everything.
2. Read the feed from that position. What changes during step 1 arrives twice: that is harmless.
3. After a failure, after lost feed entries, and every five minutes begin again. The last one also
   finds what was written without a feed entry, by an older version or by hand.

A thread does this, so a Redis that hangs delays no lookup.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from monitor.backoff import pauses
from monitor.errors import StoreError
from monitor.store.control import ControlStore
from monitor.store.inventory import decisions
from pipelines.decide.copy import DecisionCopy, decoded, held_by

log = logging.getLogger(__name__)

_BLOCK_MILLISECONDS = 1_000  # that a read of the feed waits for a change
_RELOAD_SECONDS = 300.0
_PAUSES = (0.1, 2.0)  # seconds between attempts, the first and the longest


class Follower:
    """Keeps a copy up to date, from a thread of its own.

    Args:
        store: of decisions and control state.
        copy: belongs to the event loop in which `start` is called.
    """

    def __init__(self, store: ControlStore, copy: DecisionCopy) -> None:
        self._store, self._copy = store, copy
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin to follow; returns at once."""
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, name="decisions", daemon=True).start()

    def stop(self) -> None:
        """Apply no further change."""
        self._stopping.set()

    def _run(self) -> None:
        attempts, failing = pauses(*_PAUSES), False
        while not self._stopping.is_set():
            try:
                position = self._load()
                if failing:
                    log.warning("decisions_back")
                attempts, failing = pauses(*_PAUSES), False
                self._follow(position)
            except StoreError as error:
                if not failing:
                    log.warning("decisions_stale reason=%r", str(error))
                failing = True
                self._stopping.wait(next(attempts))

    def _load(self) -> str:
        position = self._store.position()
        control = self._store.read()
        held = held_by(decisions(self._store.server))
        self._in_loop(self._copy.load, held, control, position)
        return position

    def _follow(self, position: str) -> None:
        """Apply changes until entries are lost or it is time to load again."""
        end = time.monotonic() + _RELOAD_SECONDS
        while time.monotonic() < end and not self._stopping.is_set():
            feed = self._store.feed(position, _BLOCK_MILLISECONDS)
            if feed.lost:
                log.warning("feed_gap position=%s", position)
                return
            if feed.entries:
                position = feed.entries[-1][0]
            try:
                entries = list(decoded((name, value) for _, name, value in feed.entries))
            except msgspec.MsgspecError:
                return  # loading says what is wrong
            self._in_loop(self._copy.apply, entries, position)

    def _in_loop(self, call: Callable[..., None], *arguments: Any) -> None:
        def unless_stopped() -> None:
            if not self._stopping.is_set():
                call(*arguments)

        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(unless_stopped)
        except RuntimeError:  # the loop has closed
            self._stopping.set()
