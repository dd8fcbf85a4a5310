"""A demo whose servers go on when its view ends, until `xm demo --stop`.

One process runs all of them, apart from the terminal: `python -m pipelines.demo.kept FOLDER`. Its
folder, which has the settings and the secret, is in the user's cache and goes with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from monitor.errors import MonitorError
from pipelines.demo.servers import SETTINGS, Servers, last_line, running, use_settings_of

_PID, _LOG = "pid", "log"
_START_SECONDS, _STOP_SECONDS = 60.0, 30.0
_MODULE = "pipelines.demo.kept"


def folder() -> Path:
    """Where the demo of this user is kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "extraction-monitor", "demo")


def start() -> Servers:
    """Start the servers, and use their settings in this process.

    Raises:
        MonitorError: if a demo is kept already, or the servers do not start.
    """
    place = folder()
    if _pid() is not None:
        raise MonitorError(
            f"A demo is running: export XM_CONFIG={place / SETTINGS} to ask it, or stop it with "
            "`xm demo --stop`."
        )
    shutil.rmtree(place, ignore_errors=True)  # of a process that was killed
    place.mkdir(parents=True, mode=0o700)
    with (place / _LOG).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", _MODULE, str(place)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (place / _PID).write_text(str(process.pid))
    end = time.monotonic() + _START_SECONDS
    while not (place / SETTINGS).exists():
        if process.poll() is not None or time.monotonic() > end:
            last = last_line(place / _LOG)
            stop()
            raise MonitorError(f"The demo did not start: {last}")
        time.sleep(0.05)
    return Servers(place, use_settings_of(place), process)


def stop() -> bool:
    """Stop the servers; whether there were any.

    Raises:
        MonitorError: if they do not end.
    """
    pid = _pid()
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + _STOP_SECONDS
        while _pid() == pid:
            if time.monotonic() > end:
                raise MonitorError(f"The demo does not stop: end the process {pid}.")
            time.sleep(0.05)
    shutil.rmtree(folder(), ignore_errors=True)
    return pid is not None


def _pid() -> int | None:
    """The process that runs the servers; `None` if there is none."""
    with suppress(OSError, ValueError):
        pid = int((folder() / _PID).read_text())
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # if this process has started it
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if _MODULE.encode() in arguments:  # the number may be another program's by now
            return pid
    return None


def _main() -> None:
    """Run the servers until SIGTERM, or until the worker ends."""

    def end(*_: object) -> None:
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    with running(Path(sys.argv[1])) as servers:
        servers.process.wait()
        servers.check()


if __name__ == "__main__":
    try:
        _main()
    except MonitorError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
