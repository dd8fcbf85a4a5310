"""Runs `xm` commands of shell scripts quickly: each is a fork of one process with all imports done.

A script gets a program `xm` on its path that passes its arguments, environment, folder and open
files to the server. It forwards SIGTERM and SIGINT.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

CLIENT = """\
#!{python} -SE
import json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
request = json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]).encode()
socket.send_fds(server, [len(request).to_bytes(4, "big")], [0, 1, 2])
server.sendall(request)
answer = server.makefile()
child = int(answer.readline())
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, _: os.kill(child, number))
sys.exit(int(answer.readline()))
"""
_START_SECONDS = 120.0


class ForkServer:
    """The server, and the program that asks it.

    Args:
        folder: for its socket and its log.
    """

    def __init__(self, folder: Path) -> None:
        self.address, self.log = folder / "xm.socket", folder / "xm.log"
        self.process: subprocess.Popen[bytes] | None = None

    def write_client(self, path: Path) -> None:
        """Write the program that runs a command."""
        path.write_text(CLIENT.format(python=sys.executable, address=str(self.address)))
        path.chmod(0o755)

    def __enter__(self) -> ForkServer:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.fork_server", str(self.address)],
                cwd=Path(__file__).parents[2],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + _START_SECONDS
        while not self.address.exists():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(self.log.read_text())
            time.sleep(0.02)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


def _serve(address: str) -> None:
    """Accept commands until this process is killed."""
    import weasyprint  # noqa: F401

    from monitor.config import Settings
    from monitor.engine import Engine
    from monitor.identity import Identity
    from monitor.store.memory import MemoryStore
    from pipelines.cases import desk  # noqa: F401
    from pipelines.cli.main import main
    from pipelines.decide import process  # noqa: F401
    from pipelines.reports import documents  # noqa: F401
    from pipelines.show import export  # noqa: F401
    from pipelines.supervisor import run  # noqa: F401

    Engine(Settings(), Identity(b"0123456789abcdef"), MemoryStore())  # loads the kernels
    with socket.socket(socket.AF_UNIX) as server:
        made = f"{address}.new"
        server.bind(made)
        server.listen(8)
        os.rename(made, address)
        while True:
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                _answer(connection, main)
            connection.close()
            while _reap():
                pass


def _reap() -> bool:
    """Forget a child that has ended; `False` if there is none."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def _answer(connection: socket.socket, main: object) -> None:
    """Run one command in a fork and send its status."""
    size, files, _, _ = socket.recv_fds(connection, 4, 3)
    with connection.makefile("rb") as stream:
        arguments, environment, folder = json.loads(stream.read(int.from_bytes(size, "big")))
    child = os.fork()
    if child == 0:
        for number, file in enumerate(files):
            os.dup2(file, number)
        connection.close()
        _run(arguments, environment, folder, main)
    connection.sendall(f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status) & 255).encode())
    os._exit(0)


def _run(arguments: list[str], environment: dict[str, str], folder: str, main: object) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["xm", *arguments]
    status = 0
    try:
        assert callable(main)
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 1
    for file in (sys.stdout, sys.stderr):
        file.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve(sys.argv[1])
