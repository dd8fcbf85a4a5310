"""The demo's servers: a broker, a store and a worker as in production, with their own settings."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from monitor.config import Settings, load
from monitor.errors import MonitorError
from pipelines.demo import embedded
from pipelines.kafka import topics
from pipelines.supervisor.child import die_with_parent

SETTINGS, USERS = "settings.toml", "console-users"
_SECRET, _LOG = "secret", "worker.log"
_TEXT = """\
kafka = "{kafka}"
redis_url = "{redis}"
identity_secret_file = "{secret}"
web_host = "127.0.0.1"
web_port = {port}
topics.partitions = 4
console.users_file = "{users}"
console.view_file = "{view}"
"""
_STOP_SECONDS = 10


class Servers(NamedTuple):
    """Running servers.

    Attributes:
        folder: has their settings, the secret and the worker's log.
        settings: of the worker, and of every command that asks it.
        process: the worker, or the process that runs all of them.
    """

    folder: Path
    settings: Settings
    process: subprocess.Popen[bytes]

    def check(self) -> None:
        """Check that the worker runs.

        Raises:
            MonitorError: if it has ended.
        """
        if self.process.poll() is not None:
            last = last_line(self.folder / _LOG)
            raise MonitorError(f"The worker of the demo has ended: {last}")


def use_settings_of(folder: Path) -> Settings:
    """Take settings from the folder only, not from the caller's XM_* variables or settings file."""
    for name in [name for name in os.environ if name.startswith("XM_")]:
        del os.environ[name]
    os.environ["XM_CONFIG"] = str(folder / SETTINGS)
    return load()


@contextmanager
def running(folder: Path) -> Iterator[Servers]:
    """Run a broker, a store and a worker, and stop them on leaving.

    Args:
        folder: for their files; only its owner may read it.
    """
    with embedded.broker() as kafka, embedded.store() as redis:
        secret = folder / _SECRET
        secret.write_text(secrets.token_hex(32))
        secret.chmod(0o600)
        (folder / USERS).touch(0o600)
        text = _TEXT.format(
            kafka=kafka,
            redis=redis,
            secret=secret,
            port=embedded.free_port(),
            users=folder / USERS,
            view=folder / "console.sqlite",
        )
        made = folder / f"{SETTINGS}.new"
        made.write_text(text)
        made.rename(folder / SETTINGS)
        settings = use_settings_of(folder)
        topics.create(settings)
        with _worker(folder / _LOG) as process:
            yield Servers(folder, settings, process)


@contextmanager
def _worker(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker process with the settings that XM_CONFIG names."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli.main", "worker"],
            env=os.environ | embedded.QUICK,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def last_line(log: Path) -> str:
    """The last line of a log file."""
    try:
        return log.read_text(errors="replace").strip().rpartition("\n")[2]
    except OSError:
        return "it wrote no log"
