"""Debian's Redis in the states that an operator may find it in, and Sentinel beside it."""

from __future__ import annotations

import socket
import subprocess
import threading
from pathlib import Path

import redis

from tests import servers
from tests.programs import program


class Redis(servers.Redis):
    """A redis-server with arguments of its own; it keeps nothing unless they say so."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        folder.mkdir()
        super().__init__(folder)
        self.arguments = [str(argument) for argument in arguments]

    def command(self) -> list[str]:
        listen = ["--bind", "127.0.0.1", "--port", str(self.port)]
        keep = ["--dir", str(self.folder), "--save", "", "--unixsocket", str(self.socket)]
        return [program("redis-server"), *listen, *keep, *self.arguments]

    def ready(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        self.kill()  # in order it might insist on saving first

    @property
    def socket(self) -> Path:
        return self.folder / "redis.sock"

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)


class Sentinel(Redis):
    """A Sentinel that alone decides on a failover of the primary `main`, half a second after."""

    def __init__(self, folder: Path, primary: Redis, *lines: str) -> None:
        super().__init__(folder)
        self.file = folder / "sentinel.conf"
        self.file.write_text(
            f"bind 127.0.0.1\nport {self.port}\ndir {folder}\n"
            f"sentinel monitor main 127.0.0.1 {primary.port} 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
            + "".join(f"{line}\n" for line in lines)
        )

    def command(self) -> list[str]:
        return [program("redis-server"), str(self.file), "--sentinel"]


class Authority:
    """A CA that signs certificates for as long as the test runs."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self._openssl(
            "req", "-x509", "-new", "-key", self._key("ca"), "-subj", "/CN=ca", "-out", "ca.crt"
        )
        self.certificate = folder / "ca.crt"

    def sign(self, name: str) -> tuple[Path, Path]:
        """A certificate for `name` and localhost's address, and its key."""
        key = self._key(name)
        (self.folder / "names").write_text(f"subjectAltName=DNS:{name}")
        self._openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", f"{name}.csr")
        self._openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
            "-CAcreateserial", "-extfile", "names", "-out", f"{name}.crt",
        )  # fmt: skip
        return self.folder / f"{name}.crt", self.folder / key

    def _key(self, name: str) -> str:
        self._openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", f"{name}.key")
        return f"{name}.key"

    def _openssl(self, *arguments: str) -> None:
        command = [program("openssl"), *arguments]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)


class Detour:
    """A way to a server on which what has been sent can be held up, even beyond its sender's end.

    Only connections that are there when it is held up wait; later ones pass them.
    """

    def __init__(self, server: servers.Server) -> None:
        self._to = ("127.0.0.1", server.port)
        self._gates: list[threading.Event] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        for gate in self._gates:
            gate.clear()

    def release(self) -> None:
        for gate in self._gates:
            gate.set()

    def close(self) -> None:
        self.release()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far, gate = socket.create_connection(self._to), threading.Event()
            gate.set()
            self._gates.append(gate)
            for ends in ((near, far, gate), (far, near, None)):
                threading.Thread(target=self._carry, args=ends, daemon=True).start()

    @staticmethod
    def _carry(near: socket.socket, far: socket.socket, gate: threading.Event | None) -> None:
        try:
            while data := near.recv(1 << 16):
                if gate is not None:
                    gate.wait()
                far.sendall(data)
            far.shutdown(socket.SHUT_WR)
        except OSError:
            pass
