"""A child process: a worker with one role, whose pages are on a Unix socket.

It is forked from the supervisor: modules and kernels are loaded once for all processes, and their
memory is shared. That is safe only while the supervisor has no other thread and no event loop.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp

from monitor.errors import MonitorError
from pipelines.worker.roles import Role

_ANSWER_SECONDS = 2.0
_SET_DEATH_SIGNAL, _SET_NAME = 1, 15  # options of prctl


class Child:
    """A process of a worker. It ends when this process is killed.

    Args:
        role: what it does.
        number: among the processes with this role.
        folder: for its socket.
        work: does the work of the role, with its pages on the socket, until SIGTERM.

    Attributes:
        name: in logs, the label `process` of its metrics, and the name of the process.
    """

    def __init__(self, role: Role, number: int, folder: Path, work: Callable[[Path], None]) -> None:
        self.role, self.name = role, f"{role}-{number}"
        self._socket, self._work = folder / self.name, work
        self._process = multiprocessing.get_context("fork").Process(
            target=self._run, args=[die_with_parent()], daemon=True
        )
        self._session: aiohttp.ClientSession | None = None
        self._metrics = ""

    def start(self) -> None:
        """Fork the process. No event loop may run, and no other thread."""
        self._process.start()

    def _run(self, request_signal: Callable[[], None] | None) -> None:
        """The work of the forked process."""
        if request_signal is not None:
            request_signal()
            ctypes.CDLL(None).prctl(_SET_NAME, self.name.encode())
        os.setsid()  # not in the terminal's process group: on Ctrl-C the parent stops it
        try:
            self._work(self._socket)
        except MonitorError as error:
            print(error, file=sys.stderr)
            sys.exit(2)

    async def ended(self) -> int:
        """Wait until the process ends; its exit status, negative for a signal."""
        loop, end = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._process.sentinel, end.set)
        try:
            await end.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    async def stop(self, seconds: float) -> int:
        """Send SIGTERM, and SIGKILL to a process that then runs on for `seconds`; its status."""
        if self._session is not None:
            await self._session.close()
        self._process.terminate()
        try:
            return await asyncio.wait_for(self.ended(), seconds)
        except TimeoutError:
            self._process.kill()
            return await self.ended()

    async def metrics(self) -> str:
        """Its metrics, or the last known ones if it does not answer."""
        found = await self._get("/metrics")
        if found is not None and found[0] == 200:
            self._metrics = found[1]
        return self._metrics

    async def trouble(self) -> str | None:
        """Why it is not ready; `None` if it is. `IDLE` if it waits for partitions."""
        found = await self._get("/readyz")
        if found is None:
            return f"The process {self.name} does not answer."
        status, text = found[0], found[1].strip()
        return None if status == 200 else text

    async def _get(self, page: str) -> tuple[int, str] | None:
        """Status and text of a page; `None` if it does not answer."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(self._socket)),
                timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS),
            )
        try:
            async with self._session.get(f"http://{self.name}{page}") as answer:
                return answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError, RuntimeError):  # of a closed session
            return None


def die_with_parent() -> Callable[[], None] | None:
    """A function for a new child: Linux kills it when the thread that started it ends."""
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def request_signal() -> None:
        prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return request_signal
