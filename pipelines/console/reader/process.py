"""The reader: a process that keeps the view up to date.

One thread reads Redis, another one the topics: if one of them is away, the other goes on, and the
pages say how old what they show is. A file of the view that is deleted is filled again.
"""

from __future__ import annotations

import logging
import logging.config
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from contextlib import closing

from monitor.backoff import pauses
from monitor.config import Settings
from monitor.errors import MonitorError
from pipelines.console.reader.cost import prices_of
from pipelines.console.reader.follow import Topics
from pipelines.console.reader.stored import Stored
from pipelines.console.view.database import Writer
from pipelines.web.logs import LOGGING

log = logging.getLogger(__name__)

_PAUSES = (1.0, 15.0)  # seconds between attempts, the first and the longest
_SECONDS = 1.0  # between two looks at Redis


def run_reader(settings: Settings) -> None:
    """Read until SIGTERM or SIGINT."""
    logging.config.dictConfig(LOGGING)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=[parent], daemon=True).start()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    Reader(settings, stopping).run()


class Reader:
    """Reads until an event is set.

    Args:
        stopping: the event.
    """

    def __init__(self, settings: Settings, stopping: threading.Event) -> None:
        self._settings, self._stopping = settings, stopping
        self._prices = prices_of(settings)

    def run(self) -> None:
        """Read in two threads, until the event is set."""
        threads = [
            threading.Thread(target=self._retried, args=each, name=each[0])
            for each in (("topics", self._topics), ("redis", self._redis))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _topics(self, working: Callable[[], None]) -> None:
        with closing(Writer(self._settings.console.view_file)) as writer:
            topics = Topics(self._settings, writer, self._prices)
            topics.follow(_Gone(self._stopping, writer), working)

    def _redis(self, working: Callable[[], None]) -> None:
        with closing(Writer(self._settings.console.view_file)) as writer:
            stored = Stored(self._settings, writer, self._prices)
            while not self._stopping.is_set() and not writer.is_gone:
                more = stored.read()
                working()
                self._stopping.wait(0.0 if more else _SECONDS)

    def _retried(self, name: str, work: Callable[[Callable[[], None]], None]) -> None:
        """Work until the event is set; after a failure, again."""
        attempts, failing = pauses(*_PAUSES), False

        def working() -> None:
            nonlocal attempts, failing
            if failing:
                log.warning("reader_back source=%s", name)
            attempts, failing = pauses(*_PAUSES), False

        while not self._stopping.is_set():
            try:
                work(working)
            except MonitorError as error:
                if not failing:
                    log.warning("reader_failed source=%s reason=%r", name, str(error))
                failing = True
                self._stopping.wait(next(attempts))
            except Exception:
                log.exception("reader_failed source=%s", name)
                failing = True
                self._stopping.wait(next(attempts))


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    """End with the process that started this one, also in the middle of a transaction."""
    parent.join()
    os._exit(0)


class _Gone:
    """An event that is also set once the file of the view is gone."""

    def __init__(self, stopping: threading.Event, writer: Writer) -> None:
        self._stopping, self._writer = stopping, writer

    def is_set(self) -> bool:
        return self._stopping.is_set() or self._writer.is_gone
