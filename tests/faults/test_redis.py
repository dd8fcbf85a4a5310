"""Debian's Redis: refusals, failovers and TLS give one clear error, or no interruption."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from monitor.errors import FencedError, StoreError
from monitor.store import inventory
from monitor.store.base import Checkpoint
from monitor.store.redis import PARTITION_KEY, RedisStore
from monitor.store.redis_errors import ACL
from pipelines.demo.embedded import free_port
from tests.support.programs import Worker
from tests.support.redis_servers import Detour, Redis
from tests.support.redis_store import ONE, Start, call_everything, store_on
from tests.support.workers import (
    committed,
    differences,
    fill,
    fingerprint_messages,
    load_link_partition,
    requests_read,
    traffic,
    until,
)


def seconds_until_away(call: Callable[[], object]) -> float:
    begun = time.monotonic()
    with pytest.raises(StoreError, match="is away"):
        call()
    return time.monotonic() - begun


# Away and back


def test_paused_redis_fails_within_twice_the_timeout(
    start: Start,
) -> None:
    server = start()
    store = store_on(server, timeout=1.0)
    store.commit(ONE)
    server.pause()
    try:
        for call in (lambda: store.commit(ONE), store.ping, lambda: store.load(["k_1"])):
            assert seconds_until_away(call) < 3.0  # twice, and a busy machine
    finally:
        server.resume()
    call_everything(server.url)


def test_restarted_redis_is_used_without_an_error(start: Start) -> None:
    server = start("--appendonly", "yes")
    store = store_on(server)
    claim, _ = store.claim("t:0")
    server.kill()
    server.start()
    until(server.client.ping)
    store.commit(Checkpoint({"k_1": b"one"}, {"t:0": b"state"}, claims={"t:0": claim}))
    assert store.load(["k_1"]) == [b"one"]


def test_late_write_changes_nothing(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start()
    check = RedisStore._check_claims
    with closing(Detour(server)) as detour:
        store = RedisStore(f"redis://127.0.0.1:{detour.port}", 100, timeout=0.3)
        claims = {"t:0": store.claim("t:0")[0]}

        def check_then_hold(self: RedisStore, connection: Any, claims: dict[str, int]) -> None:
            check(self, connection, claims)
            detour.hold()

        with monkeypatch.context() as patch:
            patch.setattr(RedisStore, "_check_claims", check_then_hold)
            with pytest.raises(StoreError, match="is away"):
                store.commit(Checkpoint({"k_1": b"one"}, {"t:0": b"one"}, claims=claims))
        store.commit(Checkpoint({"k_1": b"two"}, {"t:0": b"two"}, claims=claims))
        before = executed(server)
        detour.release()
        until(lambda: executed(server) > before)
    assert store.load(["k_1"]) == [b"two"]
    assert store.claim("t:0")[1] == b"two"


def executed(server: Redis) -> int:
    return int(server.client.info("commandstats")["cmdstat_exec"]["calls"])


def test_redis_that_lost_a_checkpoint_fences_the_worker(start: Start) -> None:
    server = start()
    store = store_on(server)
    claims = {"t:0": store.claim("t:0")[0]}
    store.commit(Checkpoint({"k_1": b"one"}, {"t:0": b"one"}, claims=claims))
    older = server.client.dump("xm:o:t:0")
    store.commit(Checkpoint({"k_1": b"two"}, {"t:0": b"two"}, claims=claims))
    server.client.restore("xm:o:t:0", 0, older, replace=True)
    with pytest.raises(FencedError, match="has lost the last checkpoint of t:0"):
        store.commit(Checkpoint({"k_2": b"three"}, {"t:0": b"three"}, claims=claims))
    assert store.load(["k_2"]) == [None]


# Refusals


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--requirepass", "secret"], r"refuses the login: put .* into XM_REDIS_URL\.$"),
        (["--maxmemory", "1"], r"is full: raise its maxmemory or lower XM_RECORD_DAYS\.$"),
        (["--min-replicas-to-write", "1"], r"fewer replicas than its min-replicas-to-write"),
        (["--replicaof", "127.0.0.1 1"], r"is read-only: point XM_REDIS_URL at the primary\.$"),
        (
            ["--cluster-enabled", "yes", "--cluster-port", str(free_port())],
            r"is a Cluster.*redis\+cluster://",
        ),
    ],
)
def test_refusal_is_one_sentence_with_the_remedy(
    start: Start, arguments: list[str], reason: str
) -> None:
    server = start(*arguments)
    with pytest.raises(StoreError, match=rf"^Redis at {server.address} [^.]*({reason})"):
        store_on(server).commit(ONE)


def test_cluster_of_one_node_needs_a_cluster_url(start: Start) -> None:
    server = start("--cluster-enabled", "yes", "--cluster-port", free_port())
    server.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    until(lambda: b"cluster_state:ok" in server.client.execute_command("CLUSTER", "INFO"))
    with pytest.raises(StoreError, match=r"is a Cluster.*redis\+cluster://"):
        store_on(server).commit(ONE)


def test_replica_without_its_primary_is_named(start: Start) -> None:
    server = start("--replicaof", "127.0.0.1 1", "--replica-serve-stale-data", "no")
    with pytest.raises(StoreError, match="is a replica that has lost its primary"):
        store_on(server).load(["k_1"])


def test_redis_with_a_full_disk_is_named(start: Start) -> None:
    server = start("--save", "3600 1000")
    (server.folder / "dump.rdb").mkdir()
    server.client.bgsave()
    until(lambda: server.client.info()["rdb_last_bgsave_status"] == "err")
    with pytest.raises(StoreError, match="cannot write to its disk"):
        store_on(server).commit(ONE)


def test_loading_redis_is_used_when_it_is_ready(start: Start) -> None:
    server = start("--save", "3600 1000")
    server.client.mset({f"key:{i}": b"x" * 1000 for i in range(100)})
    server.client.save()
    server.kill()
    server.arguments += [
        "--key-load-delay",
        "10000",
        "--loading-process-events-interval-bytes",
        "1024",
    ]
    server.start()
    with pytest.raises(StoreError, match="is loading its data"):
        store_on(server).commit(ONE)
    until(lambda: not server.client.info()["loading"])
    call_everything(server.url)


def test_too_many_clients_differ_from_a_redis_that_is_down(start: Start) -> None:
    server = start()
    with closing(server.client) as other:
        other.config_set("maxclients", 1)
        with pytest.raises(StoreError, match="raise its maxclients"):
            store_on(server).ping()


def test_eviction_policy_is_logged_once(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    store = store_on(start("--maxmemory-policy", "allkeys-lru"))
    with caplog.at_level(logging.WARNING):
        store.claim("t:0")
        store.claim("t:1")
    assert [r.getMessage().split(" remedy")[0] for r in caplog.records] == [
        "redis_evicts policy=allkeys-lru"
    ]


# Users


def user(server: Redis, *rights: str) -> str:
    """The URL of a user with these rights only; its password must be quoted in a URL."""
    server.client.execute_command("ACL", "SETUSER", "monitor", "reset", "on", ">p@ss:/w#", *rights)
    return f"redis://monitor:p%40ss%3A%2Fw%23@{server.address}/0"


def test_documented_acl_suffices(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    call_everything(user(start(), *ACL.split()))
    assert not caplog.records


# Without +ping: only a connection that has been idle gets a PING.
@pytest.mark.parametrize("right", [r for r in ACL.split() if r != "+ping"])
def test_missing_permission_is_named(start: Start, right: str) -> None:
    url = user(start(), *(r for r in ACL.split() if r != right))
    what = "touch the keys xm:" if right == "~xm:*" else f"run {right[1:]}:"
    with pytest.raises(StoreError, match=re.escape(f"does not let this user {what}")) as raised:
        call_everything(url)
    assert "monitor" not in str(raised.value)


def test_disabled_command_is_named(start: Start) -> None:
    store = store_on(start("--rename-command", "MEMORY", ""))
    store.commit(ONE)
    with pytest.raises(StoreError, match=r"has a command disabled and cannot run MEMORY"):
        inventory.memory(store.server)


def test_wrong_password_is_not_shown(start: Start) -> None:
    server = start()
    user(server, *ACL.split())
    store = RedisStore(f"redis://monitor:hunter2@{server.address}/0", 100)
    with pytest.raises(StoreError, match="refuses the login") as raised:
        store.ping()
    assert not {"monitor", "hunter2"} & set(f"{raised.value} {store!r}".replace(":", " ").split())
    assert raised.value.__cause__ is None


def test_unix_socket_works(start: Start) -> None:
    call_everything(f"unix://{start().socket}?db=1")


# The worker


def test_worker_rereads_what_a_restored_redis_lost(
    kafka: str, start: Start, tmp_path: Path
) -> None:
    server, stream = start(), traffic()
    third = len(stream) // 3
    worker = Worker(tmp_path / "worker", kafka, server.url, BROKER_COMMIT_INTERVAL="0.2")
    links = f"{PARTITION_KEY}{worker.settings.topics.fingerprints}:0"

    def finish(count: int) -> None:
        """Wait until engine and linker are idle, so that what is in Redis belongs together."""
        until(lambda: requests_read(worker) == count)
        until(lambda: committed(worker) == count)
        last = fingerprint_messages(worker)[-1].offset
        until(lambda: load_link_partition(server.client.get(links)).observed > last)

    with worker:
        fill(worker, stream[:third])
        finish(third)
        older = {key: server.client.dump(key) for key in server.client.keys("xm:*")}
        fill(worker, stream[third : 2 * third])
        finish(2 * third)
        with server.client.pipeline() as pipe:
            pipe.flushall()
            for key, value in older.items():
                pipe.restore(key, 0, value)
            pipe.execute()
        fill(worker, stream[2 * third :])
        assert worker.process is not None
        worker.process.wait(120)
        assert "has lost the last checkpoint" in worker.log.read_text()
        worker.start()
        assert differences(worker) == []
        assert "store_behind" in worker.log.read_text()
