"""Starts the reader as a process of its own, and again when it ends."""

from __future__ import annotations

import logging
import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from monitor.config import Settings
from pipelines.console.reader.process import run_reader

log = logging.getLogger(__name__)

_STOP_SECONDS = 10.0  # to end by itself
_PAUSE = 5.0  # seconds before it is started again


@contextmanager
def reading(settings: Settings) -> Iterator[None]:
    """Run a reader that keeps the view up to date."""
    stopping = threading.Event()
    thread = threading.Thread(target=_keep, args=(settings, stopping), name="reader")
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def _keep(settings: Settings, stopping: threading.Event) -> None:
    spawn = multiprocessing.get_context("spawn")  # a fork would share connections and locks
    while not stopping.is_set():
        process = spawn.Process(target=run_reader, args=(settings,), name="reader", daemon=True)
        process.start()
        while process.is_alive() and not stopping.wait(0.2):
            pass
        if stopping.is_set():
            process.terminate()
            process.join(_STOP_SECONDS)
            process.kill()
            return
        log.error("reader_ended code=%s", process.exitcode)
        stopping.wait(_PAUSE)
