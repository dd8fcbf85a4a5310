"""Real programs for tests: found, started on a free port, waited for, stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest


def program(name: str) -> str:
    """Its path; without it the test is skipped by name, or fails where XM_TEST_REQUIRE is set."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None and os.environ.get("XM_TEST_REQUIRE"):
        pytest.fail(f"{name} is not installed, and XM_TEST_REQUIRE is set")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running(
    command: list[str],
    ready: str,
    log: Path,
    env: dict[str, str] | None = None,
    seconds: float = 30,
) -> Iterator[subprocess.Popen[bytes]]:
    """The command from the moment that `ready` (a URL) answers 2xx until the block ends."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, **(env or {})}
        )
    try:
        until = time.monotonic() + seconds
        while not answers(ready):
            if process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"{command[0]} did not get ready:\n{log.read_text()[-4000:]}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except (urllib.error.URLError, OSError):
        return False
