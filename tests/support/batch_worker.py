"""A worker on the batch transport that logs the batches that it receives.

    python -m tests.support.batch_worker KAFKA TOPIC GROUP LOG

Lines of LOG: the time, then `given` or `acked` with partition, first and last offset, or `handover`
before the worker gives partitions back or stops.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import faust

from pipelines.supervisor.child import die_with_parent
from tests.support.apps import batch_app


class Line(NamedTuple):
    """One line of a worker's log."""

    time: float
    what: str
    partition: int = -1
    first: int = -1
    last: int = -1

    @property
    def where(self) -> tuple[int, int, int]:
        return self.partition, self.first, self.last

    def repeats(self, other: Line) -> bool:
        """Whether this line gives a record of the other's batch again, later."""
        same = self.partition == other.partition
        overlaps = self.first <= other.last and other.first <= self.last
        return self.what == "given" and same and overlaps and self.time > other.time


class BatchWorker:
    """The worker as a process."""

    def __init__(self, kafka: str, topic: str, group: str, log: Path) -> None:
        self.log = log
        module = [sys.executable, "-m", "tests.support.batch_worker"]
        self.process = subprocess.Popen(
            [*module, kafka, topic, group, str(log)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            preexec_fn=die_with_parent(),
        )

    def lines(self) -> list[Line]:
        """Its log, one line per batch."""
        written = self.log.read_text().splitlines() if self.log.exists() else []
        rows = [line.split() for line in written if line.endswith(".")]
        return [Line(float(row[0]), row[1], *map(int, row[2:-1])) for row in rows]

    def given(self) -> int:
        """Number of records received, with repeats."""
        return sum(line.last - line.first + 1 for line in self.lines() if line.what == "given")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def _app(kafka: str, topic: str, group: str, log: str) -> faust.App:
    app = batch_app(kafka, group)
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(what: str, *where: int) -> None:
        os.write(file, " ".join(map(str, (time.time(), what, *where, ".\n"))).encode())

    @app.agent(app.topic(topic))
    async def note(stream: Any) -> None:
        async for event in stream.noack().events():
            first, last = event.value.offsets[[0, -1]].tolist()
            where = event.message.partition, first, last
            write("given", *where)
            await asyncio.sleep(0.005)
            event.ack()
            write("acked", *where)

    @app.on_partitions_revoked.connect
    async def revoked(sender: Any, revoked: Any, **_: Any) -> None:
        write("handover")

    @app.on_before_shutdown.connect
    async def stopping(sender: Any, **_: Any) -> None:
        write("handover")

    return app


if __name__ == "__main__":
    _app(*sys.argv[1:]).Worker(loglevel="ERROR", quiet=True).execute_from_commandline()
