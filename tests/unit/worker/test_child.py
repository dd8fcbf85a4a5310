"""The processes that a worker forks."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.errors import ConfigError
from pipelines.supervisor.child import Child
from pipelines.worker.roles import Role


def end_of(child: Child) -> int:
    """The exit status of a child that ends by itself."""
    child.start()
    return asyncio.run(child.ended())


def child_in(folder: Path, work: Callable[[Path], None]) -> Child:
    return Child(Role.link, 3, folder, work)


def test_child_has_a_name_and_a_session(tmp_path: Path) -> None:
    def work(path: Path) -> None:
        name = Path("/proc/self/comm").read_text().strip()
        path.write_text(f"{name} {os.getsid(0) == os.getpid()}")

    assert end_of(child_in(tmp_path, work)) == 0
    assert (tmp_path / "link-3").read_text() == "link-3 True"


def test_child_prints_error_of_operator(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def work(_: Path) -> None:
        raise ConfigError("Set XM_KAFKA.")

    assert end_of(child_in(tmp_path, work)) == 2
    assert capfd.readouterr().err == "Set XM_KAFKA.\n"


def test_child_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    def work(path: Path) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        path.touch()
        time.sleep(600)

    child = child_in(tmp_path, work)
    child.start()
    while not (tmp_path / "link-3").exists():
        time.sleep(0.01)
    assert asyncio.run(child.stop(0.1)) == -signal.SIGKILL
