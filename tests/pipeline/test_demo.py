"""The demo as a command: it flags the extracting keys and leaves no process behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from monitor.kernels import jit
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
    (result,) = [line for line in out.splitlines() if line.startswith("Flagged:")]
    assert "cot-1: 12 of 12, grader-1: 6 of 6, scraper-1: 1 of 1;" in result
    assert "ordinary keys: 0 of 400; campaigns found: 2 of 2." in result
    assert "Next:\n  xm demo --keep" in out
    _, running = psutil.wait_procs(programs, timeout=10)
    assert running == []


def test_kept_demo_answers_commands_until_it_is_stopped(tmp_path: Path) -> None:
    cache = {"XDG_CACHE_HOME": str(tmp_path), "NUMBA_CACHE_DIR": kernel_cache()}
    with demo("--seconds", "5", "--speed", "400", "--keep", **cache) as process:
        out, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    (config,) = re.findall(r"export XM_CONFIG=(\S+)", out)
    (explain,) = re.findall(r"  xm (explain k_\w+)", out)
    host = psutil.Process(int((Path(config).parent / "pid").read_text()))
    programs = [host, *host.children(recursive=True)]
    assert len(programs) == PROGRAMS + 1
    assert Path(config).with_name("secret").stat().st_mode & 0o077 == 0
    assert f">>{Path(config).with_name('console-users')}\n  xm console\n" in out
    assert run(*explain.split(), XM_CONFIG=config, **cache) == 0
    assert run("demo", "--keep", **cache) == 2  # it runs already
    assert run("demo", "--stop", **cache) == 0
    _, alive = psutil.wait_procs(programs, timeout=10)
    assert alive == []
    assert run("explain", explain.split()[1], XM_CONFIG=config, **cache) == 2


def kernel_cache() -> str:
    """The folder whose kernels this process uses, as NUMBA_CACHE_DIR."""
    return str(jit.cache_folder().parents[1])


def run(*arguments: str, **settings: str) -> int:
    command = [sys.executable, "-m", "pipelines.cli.main", *arguments]
    return subprocess.run(command, env=os.environ | settings, capture_output=True).returncode


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
