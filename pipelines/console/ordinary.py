"""What keys are compared with, in memory: it is slow to read, and the same for all keys."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from monitor.config import Settings
from monitor.errors import MonitorError
from monitor.partition import Partition
from monitor.records.profile import Records
from monitor.store.redis import RedisStore
from pipelines.inspect.subjects.stored import read_others, read_partitions

_SECONDS = 60.0  # after which it is read again
_FAILED_SECONDS = 1.0  # for which a failure counts

log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Ordinary(NamedTuple):
    """What keys are compared with.

    Attributes:
        partitions: of requests, with their baselines, by name.
        others: records of ordinary keys, `(n,) RECORD`.
    """

    partitions: dict[str, Partition]
    others: Records


class Kept(Generic[_T]):
    """A value that a thread reads again once it is old and somebody asks for it. Threads may share
    it. Only the first caller waits; later ones get the old value while the new one is read.

    Args:
        read: returns a new value.
        seconds: after which a value is old.
    """

    def __init__(self, read: Callable[[], _T], seconds: float = _SECONDS) -> None:
        self._read, self._seconds = read, seconds
        self._first = threading.Lock()
        self._again = threading.Lock()
        self._known: tuple[_T, float] | None = None
        self._failed: tuple[MonitorError, float] | None = None

    def __call__(self) -> _T:
        """The value.

        Raises:
            MonitorError: if there is none yet, and it cannot be read.
        """
        known = self._known
        if known is None:
            with self._first:
                known = self._known = self._known or (self._read_first(), time.monotonic())
        elif time.monotonic() - known[1] > self._seconds and self._again.acquire(blocking=False):
            threading.Thread(target=self._renew, daemon=True).start()
        return known[0]

    def _read_first(self) -> _T:
        """The first value. Those who waited for a failure do not wait for another one each."""
        if self._failed is not None and time.monotonic() - self._failed[1] < _FAILED_SECONDS:
            raise self._failed[0]
        try:
            return self._read()
        except MonitorError as error:
            self._failed = error, time.monotonic()
            raise

    def start(self) -> None:
        """Begin to read it, so that the first caller waits less."""
        threading.Thread(target=self._begin, daemon=True).start()

    def _begin(self) -> None:
        try:
            self()
        except MonitorError as error:
            log.warning("console_ordinary_old reason=%r", str(error))

    def _renew(self) -> None:
        try:
            self._known = self._read(), time.monotonic()
        except MonitorError as error:  # the old value is used until Redis answers
            log.warning("console_ordinary_old reason=%r", str(error))
        finally:
            self._again.release()


def kept_ordinary(store: RedisStore, settings: Settings) -> Kept[Ordinary]:
    """What keys are compared with, as of the last minute or so."""
    return Kept(lambda: Ordinary(read_partitions(store, settings), read_others(store)))
