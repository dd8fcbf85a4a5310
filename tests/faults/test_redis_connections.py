"""Debian's Redis over TLS and under Sentinel."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
import redis

from monitor.errors import FencedError, StoreError
from monitor.store.base import Checkpoint
from monitor.store.redis import RedisStore
from pipelines.demo.embedded import free_port
from tests.support.redis_servers import Authority, Redis, Sentinel
from tests.support.redis_store import ONE, Start, call_everything
from tests.support.workers import (
    until,
)

# TLS


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def start_tls(
    start: Start, authority: Authority, clients: str = "no", name: str = "localhost"
) -> tuple[Redis, str]:
    port = free_port()
    certificate, key = authority.sign(name)
    server = start(
        "--tls-port", port, "--tls-cert-file", certificate, "--tls-key-file", key,
        "--tls-ca-cert-file", authority.certificate, "--tls-auth-clients", clients,
    )  # fmt: skip
    return server, f"rediss://localhost:{port}/0?ssl_ca_certs={authority.certificate}"


def test_tls_with_the_right_ca_works(start: Start, authority: Authority) -> None:
    call_everything(start_tls(start, authority)[1])


def test_certificate_of_an_unknown_ca_is_rejected(start: Start, authority: Authority) -> None:
    url = start_tls(start, authority)[1].partition("?")[0]
    with pytest.raises(StoreError, match=r"fails verification \(self-signed .*ssl_ca_certs=FILE"):
        RedisStore(url, 100).ping()


def test_certificate_for_another_host_is_rejected(start: Start, authority: Authority) -> None:
    url = start_tls(start, authority, name="elsewhere")[1]
    with pytest.raises(StoreError, match=r"fails verification \(Hostname mismatch"):
        RedisStore(url, 100).ping()
    call_everything(f"{url}&ssl_check_hostname=false")


def test_client_certificate_is_sent(start: Start, authority: Authority) -> None:
    url = start_tls(start, authority, clients="yes")[1]
    with pytest.raises(StoreError, match=r"client certificate.*ssl_certfile=FILE"):
        RedisStore(url, 100).ping()
    certificate, key = authority.sign("monitor")
    call_everything(f"{url}&ssl_certfile={certificate}&ssl_keyfile={key}")


def test_tls_port_without_tls_is_named(start: Start, authority: Authority) -> None:
    url = start_tls(start, authority)[1].replace("rediss", "redis").partition("?")[0]
    with pytest.raises(StoreError, match="write rediss for redis in XM_REDIS_URL"):
        RedisStore(url, 100).ping()


# Sentinel


class Trio(NamedTuple):
    """A primary, its replica, and the Sentinel that knows both."""

    primary: Redis
    replica: Redis
    sentinel: Redis


@pytest.fixture
def trio(start: Start) -> Trio:
    primary = start("--repl-diskless-sync-delay", 0)
    replica = start("--replicaof", f"127.0.0.1 {primary.port}")
    until(lambda: replica.client.info()["master_link_status"] == "up")
    sentinel = start(primary, kind=Sentinel)
    for period in ("INFO", "PUBLISH"):  # ms, instead of 10 s and 2 s
        sentinel.client.execute_command("SENTINEL", "DEBUG", f"{period}-PERIOD", 200)
    until(lambda: sentinel.client.sentinel_slaves("main"))
    return Trio(primary, replica, sentinel)


def test_store_follows_a_sentinel_failover(trio: Trio) -> None:
    # The first of two Sentinels is down.
    url = f"redis+sentinel://127.0.0.1:{free_port()},{trio.sentinel.address}/main/0"
    store, successor = RedisStore(url, 100, timeout=1.0), RedisStore(url, 100, timeout=1.0)
    claims = {"t:0": store.claim("t:0")[0]}
    store.commit(Checkpoint({"k_1": b"one"}, {"t:0": b"one"}, claims=claims))
    until(lambda: trio.replica.client.exists("xm:p:k_1"))
    trio.primary.kill()

    def is_written() -> bool:
        try:
            store.commit(Checkpoint({"k_2": b"two"}, {"t:0": b"two"}, claims=claims))
        except FencedError:
            raise
        except StoreError:
            return False
        return True

    until(is_written)
    assert store.load(["k_1", "k_2"]) == [b"one", b"two"]
    assert successor.claim("t:0")[1] == b"two"
    with pytest.raises(FencedError, match="claimed by another worker"):
        store.commit(Checkpoint({"k_2": b"three"}, claims=claims))


def test_store_leaves_a_demoted_primary(trio: Trio) -> None:
    store = RedisStore(f"redis+sentinel://{trio.sentinel.address}/main", 100)
    store.commit(ONE)

    def fail_over() -> bool:
        with suppress(redis.ResponseError):  # Sentinel does not know the replica well yet
            return bool(trio.sentinel.client.execute_command("SENTINEL", "FAILOVER", "main"))
        return False

    until(fail_over)
    until(lambda: trio.primary.client.info()["role"] == "slave")
    store.commit(ONE)


def test_sentinel_login_works_and_its_refusal_is_named(start: Start) -> None:
    primary = start("--requirepass", "one")
    sentinel = start(primary, "requirepass two", "sentinel auth-pass main one", kind=Sentinel)
    url = f"redis+sentinel://:one@{sentinel.address}/main"
    call_everything(f"{url}?sentinel_password=two")
    with pytest.raises(StoreError, match=r"Sentinels of main .*sentinel_username") as raised:
        RedisStore(f"{url}?sentinel_password=three", 100).ping()
    assert "three" not in str(raised.value)


def test_sentinels_without_the_primary_are_named(start: Start) -> None:
    with pytest.raises(StoreError, match="No Sentinel knows a primary for main of"):
        RedisStore(f"redis+sentinel://127.0.0.1:{free_port()}/main", 100).ping()
    sentinel = start(start(), kind=Sentinel)
    with pytest.raises(StoreError, match="No Sentinel knows a primary for other of"):
        RedisStore(f"redis+sentinel://{sentinel.address}/other", 100).ping()
