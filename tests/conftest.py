"""Servers for tests: embedded ones, or those that XM_TEST_KAFKA and XM_TEST_REDIS name.

A test that uses one carries the marker `kafka`, so that `pytest -m kafka` runs all of them again
on other servers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import redis

from pipelines.demo import embedded
from tests.support import servers
from tests.support.programs import compile_kernels

TESTS = Path(__file__).parent
_LONG = {
    "test_docs_blocks.py",
    "test_kill.py",
    "test_roles.py",
    "test_walk.py",
    "test_worker.py",
}
_SERVERS = {"kafka", "redis_url", "cluster_url", "own_kafka", "own_redis"}


def pytest_xdist_setupnodes() -> None:
    """Compile the kernels once, before the test processes do it at the same time."""
    compile_kernels()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what is slow first, so that no long file is left at the end, and mark server tests."""
    rooms = ("faults", "pipeline", "unit")
    items.sort(key=lambda item: (rooms.index(_room(item)), item.path.name not in _LONG))
    for item in items:
        if _SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker("kafka")
        if _room(item) == "faults":
            item.add_marker("faults")


def _room(item: pytest.Item) -> str:
    return item.path.relative_to(TESTS).parts[0]


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """Bootstrap servers of a broker that all tests share: choose fresh topic and group names."""
    named = os.environ.get("XM_TEST_KAFKA")
    if named:
        yield named
    else:
        with embedded.broker() as address:
            yield address


@pytest.fixture(scope="session")
def _redis_server() -> Iterator[str]:
    named = os.environ.get("XM_TEST_REDIS")
    if named:  # by processes that test at the same time, each has a database to itself
        yield f"{named.removesuffix('/0')}/{os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:]}"
    else:
        with embedded.store() as url:
            yield url


@pytest.fixture
def redis_url(_redis_server: str) -> str:
    """The URL of a Redis database that is empty when the test begins."""
    with redis.from_url(_redis_server) as client:
        client.flushdb()
    return _redis_server


@pytest.fixture(scope="session")
def _cluster_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Redis]:
    server = _own_redis(tmp_path_factory)
    server.arguments = ["--cluster-enabled", "yes", "--cluster-port", str(embedded.free_port())]
    with server, redis.Redis(port=server.port) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
            time.sleep(0.05)
        yield server


@pytest.fixture
def cluster_url(_cluster_server: servers.Redis) -> str:
    """The URL of a Redis Cluster of one server, empty when the test begins."""
    with redis.Redis(port=_cluster_server.port) as client:
        client.flushdb()
    return f"redis+cluster://{_cluster_server.address}"


@pytest.fixture
def apache_kafka(tmp_path: Path) -> Iterator[servers.Kafka]:
    """An Apache Kafka of the test's own, to stop and kill; its jars are in XM_TEST_KAFKA_LIBS."""
    libs = os.environ.get("XM_TEST_KAFKA_LIBS")
    if not libs:
        absent("XM_TEST_KAFKA_LIBS does not name a folder of Apache Kafka's jars")
    folder = tmp_path / "kafka"
    folder.mkdir()
    with servers.Kafka(folder, Path(libs)) as server:
        yield server


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """A broker of the module's own, to pause; Apache Kafka where XM_TEST_KAFKA is set."""
    folder = tmp_path_factory.mktemp("kafka")
    libs = os.environ.get("XM_TEST_KAFKA_LIBS")
    if not os.environ.get("XM_TEST_KAFKA"):
        server: servers.Server = servers.Tansu(folder)
    elif libs:
        server = servers.Kafka(folder, Path(libs))
    else:
        absent("XM_TEST_KAFKA_LIBS does not name a folder of Apache Kafka's jars")
    with server:
        yield server


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Redis]:
    """A store of the module's own, to pause and kill; Debian's Redis where XM_TEST_REDIS is set."""
    with _own_redis(tmp_path_factory) as server:
        yield server


def _own_redis(tmp_path_factory: pytest.TempPathFactory) -> servers.Redis:
    kind = servers.Redis if os.environ.get("XM_TEST_REDIS") else servers.Valkey
    return kind(tmp_path_factory.mktemp("redis"))


def absent(reason: str) -> NoReturn:
    """Skip a test whose server is missing, or fail it if XM_TEST_REQUIRE is set."""
    if os.environ.get("XM_TEST_REQUIRE"):
        pytest.fail(reason)
    pytest.skip(reason)
