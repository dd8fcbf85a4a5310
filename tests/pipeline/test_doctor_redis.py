"""Each line of the doctor about Redis, caused on a real server."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis

from monitor.store.redis_errors import ACL, CLUSTER_ACL
from pipelines.health.checks import Check
from pipelines.health.redis_checks import check_redis, trials
from tests.support.servers import Redis


def found(url: str) -> dict[str, Check]:
    return {each.name: each for each in check_redis(url)}


@pytest.fixture
def client(own_redis: Redis) -> Iterator[redis.Redis]:
    """A connection to a server with the recommended configuration; all is undone at the end."""
    with redis.from_url(own_redis.url) as connection:
        before = connection.config_get("*max*") | connection.config_get("append*")
        connection.config_set("appendonly", "yes")
        yield connection
        connection.replicaof("NO", "ONE")
        for name in ("maxmemory", "maxmemory-policy", "appendonly"):
            connection.config_set(name, before[name])


def test_recommended_redis_is_ok(own_redis: Redis, client: redis.Redis) -> None:
    checks = found(own_redis.url)
    assert {each.name: each.found for each in checks.values() if each.state != "ok"} == {}
    assert checks.keys() == {
        "connection", "rights", "version", "role", "eviction", "memory", "persistence", "clock",
    }  # fmt: skip


def test_checks_leave_nothing_behind(own_redis: Redis, client: redis.Redis) -> None:
    found(own_redis.url)
    assert list(client.scan_iter("xm:doctor:*")) == []


def test_redis_that_is_away_fails_with_its_remedy() -> None:
    (only,) = check_redis("redis://127.0.0.1:1/0")
    assert (only.name, only.state) == ("connection", "failed")
    assert only.remedy == "Start it, or correct XM_REDIS_URL."


def test_eviction_fails(own_redis: Redis, client: redis.Redis) -> None:
    client.config_set("maxmemory-policy", "allkeys-lru")
    assert found(own_redis.url)["eviction"].state == "failed"


@pytest.mark.parametrize(("times", "state"), [(1.02, "failed"), (1.15, "warning"), (100, "ok")])
def test_full_memory_is_reported(
    own_redis: Redis, client: redis.Redis, times: float, state: str
) -> None:
    client.config_set("maxmemory-policy", "noeviction")
    used = client.info("memory")["used_memory"]
    client.config_set("maxmemory", int(used * times) + (1 << 20) * (times > 2))
    # Connections of the check itself take memory, so a nearly full server may be a full one.
    assert found(own_redis.url)["memory"].state in {state, "failed" if state != "ok" else "ok"}


def test_missing_persistence_warns(own_redis: Redis, client: redis.Redis) -> None:
    client.config_set("appendonly", "no")
    assert found(own_redis.url)["persistence"].state == "warning"


def test_replica_fails(own_redis: Redis, client: redis.Redis) -> None:
    client.replicaof("127.0.0.1", "1")
    assert found(own_redis.url)["role"].state == "failed"


@pytest.mark.parametrize("right", [each for each in ACL.split() if each not in ("~xm:*", "+info")])
def test_missing_right_is_named(own_redis: Redis, client: redis.Redis, right: str) -> None:
    rights = [each for each in ACL.split() if each != right]
    client.execute_command("ACL", "SETUSER", "checked", "reset", "on", ">pw", *rights)
    url = own_redis.url.replace("redis://", "redis://checked:pw@")
    checks = found(url)
    if right == "+ping":
        assert checks["connection"].state == "failed"
        return
    assert checks["rights"].found == f"This user may not: {right.removeprefix('+')}."
    assert right in checks["rights"].remedy


def test_keys_of_another_prefix_fail(own_redis: Redis, client: redis.Redis) -> None:
    rights = [each for each in ACL.split() if each != "~xm:*"]
    client.execute_command("ACL", "SETUSER", "checked", "reset", "on", ">pw", "~other:*", *rights)
    checks = found(own_redis.url.replace("redis://", "redis://checked:pw@"))
    assert checks["rights"].state == "failed"


def test_all_documented_rights_are_tried() -> None:
    assert trials("xm:doctor").keys() == {*ACL.split(), CLUSTER_ACL} - {"~xm:*"}


def test_wrong_password_is_not_shown(own_redis: Redis) -> None:
    (only,) = check_redis(own_redis.url.replace("redis://", "redis://ann:hunter2@"))
    assert only.state == "failed"
    assert "hunter2" not in f"{only}"


def test_cluster_is_checked(cluster_url: str) -> None:
    checks = found(cluster_url)
    assert checks["rights"].state == "ok"
    assert "1 servers" in checks["connection"].found


def test_wrong_clock_fails(
    own_redis: Redis, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    monkeypatch.setattr("pipelines.health.redis_checks.time.time", lambda: real() + 40.0)
    assert found(own_redis.url)["clock"].state == "failed"
