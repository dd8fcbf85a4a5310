"""Programs other than Kafka and Redis for tests. Ready when a page answers."""

from __future__ import annotations

import os
import shutil
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from unittest import mock

import psutil
import pytest

from monitor.config import Settings, load
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.store.memory import MemoryStore
from pipelines.demo.embedded import free_port
from pipelines.kafka import topics
from tests.support.servers import Server


def program(name: str) -> str:
    """The path of a program. If it is missing, skip the test, or fail if XM_TEST_REQUIRE is set."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None and os.environ.get("XM_TEST_REQUIRE"):
        pytest.fail(f"{name} is not installed, and XM_TEST_REQUIRE is set")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


class WebServer(Server):
    """A program that listens on `port` and is ready when its `page` answers 2xx."""

    page = "/-/ready"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder)

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + self.page, timeout=1):
                return True
        except (urllib.error.URLError, OSError):
            return False


class Worker(WebServer):
    """A worker with its own topics and group; ready when it has partitions."""

    page = "/readyz"

    def __init__(
        self,
        folder: Path,
        kafka: str,
        redis_url: str,
        *,
        rekey: bool = False,
        options: Sequence[str] = (),
        **chosen: str,
    ) -> None:
        super().__init__(folder)
        self.rekey, self.options = rekey, options
        name = uuid.uuid4().hex[:12]
        self.environment = {
            "XM_KAFKA": kafka,
            "XM_REDIS_URL": redis_url,
            "XM_GROUP": f"group-{name}",
            "XM_IDENTITY_SECRET": f"known to {name} only",  # no two workers share pseudonyms
            "XM_WEB_PORT": str(self.port),
            "XM_CHECKPOINT_SECONDS": "0.2",
            "XM_TOPICS__REQUESTS": f"requests-{name}",
            "XM_TOPICS__KEYED": f"keyed-{name}",
            "XM_TOPICS__REJECTED": f"rejected-{name}",
            "XM_TOPICS__ALERTS": f"alerts-{name}",
            "XM_TOPICS__UNDELIVERED": f"undelivered-{name}",
            "XM_TOPICS__FINGERPRINTS": f"fingerprints-{name}",
            "XM_TOPICS__DECISIONS": f"decisions-{name}",
            "XM_TOPICS__AUDIT": f"audit-{name}",
            "XM_TOPICS__CASES": f"cases-{name}",
            "XM_TOPICS__PARTITIONS": "1",
            # Faust settings: seconds until a dead member loses its partitions. Tansu waits half of
            # it at every join. servers.py configures Apache Kafka to allow less than 6 s.
            "BROKER_SESSION_TIMEOUT": "3",
            "BROKER_HEARTBEAT_INTERVAL": "0.5",
            **chosen,
        }

    @property
    def settings(self) -> Settings:
        with mock.patch.dict(os.environ, self.environment):
            return load()

    @property
    def requests(self) -> str:
        return self.environment["XM_TOPICS__REQUESTS"]

    def command(self) -> list[str]:
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        options = [*self.options, *(["--rekey"] if self.rekey else [])]
        return ["env", *variables, sys.executable, "-m", "pipelines.cli.main", "worker", *options]

    def start(self) -> None:
        compile_kernels()
        topics.create(self.settings, rekey=self.rekey)
        super().start()

    def children(self) -> dict[str, psutil.Process]:
        """Its processes by name: the role and a number."""
        assert self.process is not None
        found = psutil.Process(self.process.pid).children()
        return {each.name(): each for each in found}

    def pause(self) -> None:
        super().pause()
        for child in self.children().values():
            child.suspend()

    def resume(self) -> None:
        for child in self.children().values():
            child.resume()
        super().resume()


class DecisionService(WebServer):
    """`xm serve` for the decisions of a worker; ready when it has them.

    Args:
        worker: whose Redis, identity secret and settings it has.
        chosen: more environment variables.

    Attributes:
        grpc: its port for Envoy.
    """

    page = "/readyz"

    def __init__(self, folder: Path, worker: Worker, **chosen: str) -> None:
        super().__init__(folder)
        self.grpc = free_port()
        ports = {"XM_SERVE__PORT": str(self.port), "XM_SERVE__GRPC_PORT": str(self.grpc)}
        self.environment = worker.environment | ports | chosen

    def command(self) -> list[str]:
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return ["env", *variables, sys.executable, "-m", "pipelines.cli.main", "serve"]


@cache
def compile_kernels() -> None:
    """Compile the kernels once, instead of in every worker."""
    Engine(Settings(), Identity(b"0123456789abcdef"), MemoryStore())
