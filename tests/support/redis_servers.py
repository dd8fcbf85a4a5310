"""Debian's Redis with options, with Sentinel and as a Cluster."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import redis

from pipelines.demo.embedded import free_port
from tests.support import servers
from tests.support.programs import program


class Redis(servers.Redis):
    """A redis-server with its own arguments; by default it persists nothing."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        folder.mkdir()
        super().__init__(folder)
        self.arguments: list[str] = [str(argument) for argument in arguments]

    def command(self) -> list[str]:
        listen = ["--bind", "127.0.0.1", "--port", str(self.port)]
        keep = ["--dir", str(self.folder), "--save", "", "--unixsocket", str(self.socket)]
        return [program("redis-server"), *listen, *keep, *self.arguments]

    def ready(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        self.kill()  # SIGTERM may save first

    @property
    def socket(self) -> Path:
        return self.folder / "redis.sock"

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)


class Sentinel(Redis):
    """A single Sentinel that fails over the primary `main` after half a second."""

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


class Cluster:
    """A Cluster of three primaries whose data survive kill -9."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.nodes: list[Redis] = []

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(node.address for node in self.nodes)}"

    def __enter__(self) -> Self:
        for _ in range(3):
            self.add()
        self._cli("create", *(node.address for node in self.nodes), "--cluster-yes")
        self.settle()
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.stop()

    def add(self) -> Redis:
        """Start a server that is not connected to the others yet."""
        node = Redis(
            self.folder / f"node-{len(self.nodes)}",
            "--cluster-enabled", "yes", "--cluster-port", free_port(),
            "--cluster-node-timeout", 1000, "--appendonly", "yes", "--repl-diskless-sync-delay", 0,
        )  # fmt: skip
        node.start()
        self.nodes.append(node)
        return node

    def add_replica(self, primary: Redis) -> Redis:
        replica = self.add()
        primary_id = primary.client.execute_command("CLUSTER", "MYID").decode()
        self._cli(
            "add-node", replica.address, primary.address,
            "--cluster-slave", "--cluster-master-id", primary_id,
        )  # fmt: skip
        return replica

    def settle(self) -> None:
        """Wait until all servers report that every slot is served."""
        until = time.monotonic() + 120
        while any(b"cluster_state:ok" not in self._state(node) for node in self.nodes):
            assert time.monotonic() < until, "the Cluster has slots without a server"
            time.sleep(0.05)

    def slot(self, key: str) -> int:
        return int(self.nodes[0].client.execute_command("CLUSTER", "KEYSLOT", key))

    def owner(self, key: str) -> Redis:
        """The primary that has a key, as the first server sees it."""
        slot = self.slot(key)
        for first, last, (_, port, *_), *_ in self.nodes[0].client.execute_command("CLUSTER SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise AssertionError

    @contextmanager
    def moving(self, key: str, to: Redis) -> Iterator[None]:
        """Start to move the slot of a key; leaving moves its keys and ends the move."""
        slot, source = self.slot(key), self.owner(key)
        ids = {node: node.client.execute_command("CLUSTER", "MYID") for node in (source, to)}
        to.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[to])
        yield
        while names := source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10):
            source.client.migrate("127.0.0.1", to.port, names, 0, 5000)
        for node in [to, source, *self.nodes]:
            with suppress(redis.ResponseError):  # from a replica
                node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[to])

    @staticmethod
    def _state(node: Redis) -> bytes:
        return bytes(node.client.execute_command("CLUSTER", "INFO"))

    @staticmethod
    def _cli(*arguments: str) -> None:
        command = [program("redis-cli"), "--cluster", *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=180)


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
    """A proxy that can hold back sent bytes, even after their sender has closed.

    `hold` affects open connections only; later ones pass.
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
