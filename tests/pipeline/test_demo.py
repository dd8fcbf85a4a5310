"""The demo as a command: it flags the extracting keys and leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from pipelines.supervisor.child import die_with_parent
from tests.support.workers import until

PROGRAMS = 6  # a broker, a store, a worker and its three processes


@contextmanager
def demo(*options: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli.main", "demo", *options],
        env=os.environ | settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=die_with_parent(),
    )
    with process:
        yield process
        process.kill()


def child_processes(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that the demo starts, once all run."""
    own = psutil.Process(process.pid)
    until(lambda: len(own.children(recursive=True)) == PROGRAMS)
    return own.children(recursive=True)


def test_demo_flags_extracting_keys_only_and_cleans_up(tmp_path: Path) -> None:
    file = tmp_path / "production.toml"
    file.write_text("[decisions]\nshadow = false\n[detection]\nwarning = 1e-12\n")
    # The settings of a deployment, which the demo must ignore.
    deployment = {
        "XM_CONFIG": str(file),
        "XM_KAFKA": "kafka.example:9092",
        "XM_GROUP": "production",
        "XM_TOPICS__REQUESTS": "production.requests",
        "XM_MAPPING": "litellm",
        "XM_IDENTITY_SECRET_FILE": "/run/secrets/none",
    }
    with demo("--seconds", "8", "--speed", "400", **deployment) as process:
        programs = child_processes(process)
        out, _ = process.communicate(timeout=240)  # the first start compiles kernels
    assert process.returncode == 0
    last = out.splitlines()[-1]
    assert "cot-1: 12 of 12, grader-1: 6 of 6, scraper-1: 1 of 1;" in last
    assert "ordinary keys: 0 of 400; campaigns found: 2 of 2." in last
    _, running = psutil.wait_procs(programs, timeout=10)
    assert running == []


def test_demo_stops_cleanly_on_ctrl_c() -> None:
    with demo() as process:
        programs = child_processes(process)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in out
    _, running = psutil.wait_procs(programs, timeout=10)
    assert running == []


def test_processes_of_killed_demo_end() -> None:
    with demo() as process:
        programs = child_processes(process)
        process.kill()
        until(lambda: not any(alive(program) for program in programs), 5)


def alive(program: psutil.Process) -> bool:
    return program.is_running() and program.status() != psutil.STATUS_ZOMBIE
