"""A child process: a worker with one role, whose pages are on a Unix socket."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import aiohttp

from pipelines.worker.roles import Role

_ANSWER_SECONDS = 2.0


class Child:
    """A process of a worker. It ends when this process is killed.

    Args:
        role: what it does.
        number: among the processes with this role.
        folder: for its socket.
        rekey: as for `xm worker`.

    Attributes:
        name: in logs, and the label `process` of its metrics.
    """

    def __init__(self, role: Role, number: int, folder: Path, *, rekey: bool = False) -> None:
        self.role, self.name = role, f"{role}-{number}"
        self._socket = folder / self.name
        self._rekey = rekey
        self._process: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession | None = None
        self._metrics = ""

    async def start(self) -> None:
        """Start the process."""
        rekey = ["--rekey"] if self._rekey else []
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "pipelines.cli.main",
            "worker",
            *rekey,
            *("--role", self.role, "--socket", str(self._socket)),
            stdin=asyncio.subprocess.DEVNULL,
            # Not in the terminal's process group: on Ctrl-C this process stops it.
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(self._socket)),
            timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS),
        )

    async def ended(self) -> int:
        """Wait until the process ends; its exit status, negative for a signal."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self, seconds: float) -> int:
        """Send SIGTERM, and SIGKILL to a process that then runs on for `seconds`; its status."""
        assert self._process is not None
        if self._session is not None:
            await self._session.close()
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            return await asyncio.wait_for(self.ended(), seconds)
        except TimeoutError:
            with suppress(ProcessLookupError):
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
            return None
        try:
            async with self._session.get(f"http://{self.name}{page}") as answer:
                return answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError, RuntimeError):  # of a closed session
            return None


def die_with_parent() -> Callable[[], None] | None:
    """A `preexec_fn` that has Linux kill the child when the thread that started it ends."""
    if sys.platform != "linux":
        return None
    prctl, set_death_signal, parent = ctypes.CDLL(None).prctl, 1, os.getpid()

    def request_signal() -> None:
        prctl(set_death_signal, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return request_signal
