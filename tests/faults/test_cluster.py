"""A Redis Cluster of Debian's servers: same contents as one Redis, through restarts and moves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from monitor import config
from monitor.alerting.decisions import Decision
from monitor.batch import Batch
from monitor.engine import Engine
from monitor.errors import FencedError, StoreError
from monitor.identity import from_settings
from monitor.store import inventory
from monitor.store.base import Checkpoint, Store
from monitor.store.indicators import IndicatorStore
from monitor.store.memory import MemoryStore
from monitor.store.redis import PARTITION_KEY, RECORD_KEY, RedisStore
from monitor.store.redis_errors import ACL, CLUSTER_ACL
from tests.support.programs import Worker
from tests.support.redis_servers import Authority, Cluster, Redis
from tests.support.redis_store import call_indicators
from tests.support.requests import elicitor, in_order, person, scraper
from tests.support.stores import decision_in
from tests.support.workers import expected_results, filling, traffic, until

BLOCK = Decision("k_1", "block", "a_1", made_at=1.0, seconds=60.0)
PARTITIONS = ["t:0", "t:1", "t:2", "t:3"]  # spread over all three servers


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster") / "cluster") as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: Cluster) -> Cluster:
    """A Cluster of three primaries, empty when the test begins."""
    for node in shared.nodes:
        node.client.flushall()
    return shared


@pytest.fixture
def store(cluster: Cluster) -> RedisStore:
    return RedisStore(cluster.url, 100, timeout=2.0)


def checkpoint(store: Store, value: bytes, claims: dict[str, int] | None = None) -> Checkpoint:
    """One record and the state of each partition."""
    names = [store.names(partition, ["k_1"])[0] for partition in PARTITIONS]
    return Checkpoint(
        dict.fromkeys(names, value), dict.fromkeys(PARTITIONS, value), claims=claims or {}
    )


def stored(store: RedisStore) -> dict[str, set[bytes | None]]:
    """The values of a checkpoint by partition: one each, unless the checkpoint was torn."""
    return {
        partition: {
            *store.load(store.names(partition, ["k_1"])),
            store._call("GET", f"{PARTITION_KEY}{{{partition}}}"),
        }
        for partition in PARTITIONS
    }


def succeeds(write: Callable[[], None]) -> Callable[[], bool]:
    """A check whether a write succeeds; `FencedError` is raised."""

    def attempt() -> bool:
        try:
            write()
        except FencedError:
            raise
        except StoreError:
            return False
        return True

    return attempt


# Contents


def test_cluster_holds_the_bytes_of_a_single_store(store: RedisStore) -> None:
    settings = config.load(identity_secret="known to this test only")
    streams = {
        partition: in_order(elicitor(f"sk-cot-{partition}"), person(f"sk-person-{partition}"))
        for partition in PARTITIONS
    }
    streams["t:0"] = in_order(streams["t:0"], scraper())
    memory = MemoryStore()
    for each, size in ((memory, 10_000), (store, 40)):  # from 40 on, several engines in turn
        offsets = dict.fromkeys(PARTITIONS, 0)
        while any(offsets[partition] < len(streams[partition]) for partition in PARTITIONS):
            engine = Engine(settings, from_settings(settings), each)
            for partition, stream in streams.items():
                start = engine.assign(partition).offset
                values = stream[start : start + size]
                engine.observe(Batch(partition, range(start, start + len(values)), values))
                offsets[partition] = start + len(values)
            each.commit(engine.snapshot())
            size *= 3
    assert dict(found for page in inventory.pages(store.server) for found in page) == memory.records
    assert {PARTITION_KEY + name: restored(store, name) for name in PARTITIONS} == {
        PARTITION_KEY + name: state for name, state in memory._partitions.items()
    }
    assert memory._decisions
    for _, key in memory._decisions:
        found, expected = decision_in(store, key), decision_in(memory, key)
        assert found
        assert expected
        assert (found.action, found.reason) == (expected.action, expected.reason)
    assert store.baselines() == memory.baselines()


def restored(store: RedisStore, partition: str) -> bytes | None:
    return store.claim(partition)[1]


def test_partitions_spread_over_all_servers(cluster: Cluster, store: RedisStore) -> None:
    store.commit(checkpoint(store, b"one"))
    assert all(node.client.dbsize() for node in cluster.nodes)


def test_decision_is_found_without_its_partition(cluster: Cluster, store: RedisStore) -> None:
    store.commit(Checkpoint(decisions=[BLOCK]))
    assert decision_in(RedisStore(f"redis+cluster://{cluster.nodes[1].address}", 100), "k_1")


def test_memory_is_summed_over_all_servers(store: RedisStore) -> None:
    store.commit(checkpoint(store, bytes(1_000)))
    found = inventory.memory(store.server)
    assert 1_000 < found.record < 2_000
    assert found.empty > 3 * 500_000


# Fencing


def test_claim_to_one_partition_fences_the_whole_checkpoint(
    cluster: Cluster, store: RedisStore
) -> None:
    claims = {partition: store.claim(partition)[0] for partition in PARTITIONS}
    store.commit(checkpoint(store, b"one", claims))
    RedisStore(cluster.url, 100).claim("t:2")
    late = checkpoint(store, b"two", claims)
    late.decisions.append(BLOCK)
    with pytest.raises(FencedError, match="t:2 has been claimed"):
        store.commit(late)
    assert stored(store) == {partition: {b"one"} for partition in PARTITIONS}
    assert decision_in(store, "k_1") is None


def test_claim_during_a_commit_tears_no_partition(
    cluster: Cluster, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = {partition: store.claim(partition)[0] for partition in PARTITIONS}
    successor = RedisStore(cluster.url, 100)
    writes = RedisStore._commands

    def lose_then_write(self: RedisStore, part: Checkpoint) -> Iterator[tuple[object, ...]]:
        if "t:2" in part.claims:
            successor.claim("t:2")
        return writes(self, part)

    monkeypatch.setattr(RedisStore, "_commands", lose_then_write)
    with pytest.raises(FencedError, match="t:2 has been claimed"):
        store.commit(checkpoint(store, b"one", claims))
    assert [stored(store)[partition] for partition in ("t:0", "t:2")] == [{b"one"}, {None}]


# Servers fail, restart and move slots


def test_killed_server_is_named_and_used_after_its_restart(
    cluster: Cluster, store: RedisStore
) -> None:
    claims = {partition: store.claim(partition)[0] for partition in PARTITIONS}
    owner = cluster.owner("{t:0}")
    owner.kill()
    with pytest.raises(StoreError, match=rf"away .*{owner.port}|no server serves"):
        store.commit(checkpoint(store, b"one", claims))
    with pytest.raises(StoreError):
        store.ping()
    owner.start()
    until(succeeds(lambda: store.commit(checkpoint(store, b"two", claims))))
    assert stored(store) == {partition: {b"two"} for partition in PARTITIONS}
    cluster.settle()


def test_store_follows_a_moved_slot(cluster: Cluster, store: RedisStore) -> None:
    claims = {partition: store.claim(partition)[0] for partition in PARTITIONS}
    store.commit(checkpoint(store, b"one", claims))
    source = cluster.owner("{t:0}")
    target = next(node for node in cluster.nodes if node is not source)
    done, written, failures = threading.Event(), [b"one"], []

    def work() -> None:
        while not done.is_set():
            value = b"%d" % len(written)
            try:
                until(succeeds(lambda v=value: store.commit(checkpoint(store, v, claims))))
            except Exception as error:
                failures.append(error)
                return
            written.append(value)

    worker = threading.Thread(target=work)
    worker.start()
    for to in (target, source, target):
        before = len(written)
        with cluster.moving("{t:0}", to):
            pass
        until(lambda count=before: len(written) > count or failures)
    done.set()
    worker.join()
    assert not failures
    assert cluster.owner("{t:0}") is target
    assert stored(store) == {partition: {written[-1]} for partition in PARTITIONS}


def test_write_into_a_moving_slot_waits(cluster: Cluster, store: RedisStore) -> None:
    store.commit(checkpoint(store, b"one"))
    source = cluster.owner("{t:0}")
    target = next(node for node in cluster.nodes if node is not source)
    names = store.names("t:0", ["k_2"])
    with cluster.moving("{t:0}", target), pytest.raises(StoreError, match="moving a slot"):
        store.commit(Checkpoint({names[0]: b"two"}))
    store.commit(Checkpoint({names[0]: b"two"}))
    assert store.load(names) == [b"two"]


def test_store_follows_a_promoted_replica(tmp_path: Path) -> None:
    with Cluster(tmp_path / "cluster") as cluster:
        store = RedisStore(cluster.url, 100, timeout=1.0)
        claims = {partition: store.claim(partition)[0] for partition in PARTITIONS}
        owner = cluster.owner("{t:0}")
        replica = cluster.add_replica(owner)
        until(lambda: replica.client.info()["master_link_status"] == "up")
        store.commit(checkpoint(store, b"one", claims))
        until(lambda: replica.client.dbsize() == owner.client.dbsize())
        owner.kill()
        until(succeeds(lambda: store.commit(checkpoint(store, b"two", claims))))
        assert replica.client.info()["role"] == "master"
        assert stored(store) == {partition: {b"two"} for partition in PARTITIONS}
        RedisStore(cluster.url, 100, timeout=1.0).claim("t:0")
        with pytest.raises(FencedError, match="claimed by another worker"):
            store.commit(checkpoint(store, b"three", claims))


# Refusals


def test_documented_cluster_acl_suffices(
    cluster: Cluster,
) -> None:
    for node in cluster.nodes:
        node.client.execute_command("ACL", "SETUSER", "one", "on", ">x", *ACL.split(), CLUSTER_ACL)
        node.client.execute_command("ACL", "SETUSER", "two", "on", ">x", *ACL.split())
    place = cluster.url.partition("://")[2]
    store = RedisStore(f"redis+cluster://one:x@{place}", 100)
    claims = {partition: store.claim(partition)[0] for partition in PARTITIONS}
    store.commit(checkpoint(store, b"one", claims))
    store.ping()
    assert sum(map(len, inventory.pages(store.server))) == len(PARTITIONS)
    assert inventory.memory(store.server).record
    with pytest.raises(StoreError, match=r"run cluster\|slots: grant it .*\+cluster\|slots"):
        RedisStore(f"redis+cluster://two:x@{place}", 100).ping()


def test_indicators_are_kept_on_all_servers(cluster: Cluster) -> None:
    call_indicators(IndicatorStore(cluster.url))
    assert all(node.client.dbsize() for node in cluster.nodes)


def test_single_server_rejects_a_cluster_url(redis_url: str) -> None:
    url = redis_url.replace("redis:", "redis+cluster:").rpartition("/")[0]
    with pytest.raises(StoreError, match="is not a Cluster: write redis for redis"):
        RedisStore(url, 100).ping()


def test_cluster_works_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.sign("localhost")
    folder = tmp_path / "server"
    server = Redis(folder)
    server.arguments = [
        "--port", "0", "--tls-port", str(server.port), "--tls-cluster", "yes",
        "--tls-cert-file", str(certificate), "--tls-key-file", str(key),
        "--tls-ca-cert-file", str(authority.certificate), "--tls-auth-clients", "no",
        "--cluster-enabled", "yes", "--cluster-port", str(Redis(tmp_path / "bus").port),
    ]  # fmt: skip
    with server, redis.Redis(unix_socket_path=str(server.socket)) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        until(lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"))
        url = f"rediss+cluster://localhost:{server.port}?ssl_ca_certs={authority.certificate}"
        store = RedisStore(url, 100)
        store.commit(checkpoint(store, b"one"))
        assert stored(store) == {partition: {b"one"} for partition in PARTITIONS}


# The worker


def test_worker_on_a_changing_cluster_counts_once(
    kafka: str, cluster: Cluster, store: RedisStore, tmp_path: Path
) -> None:
    worker = Worker(tmp_path / "worker", kafka, cluster.url, XM_TOPICS__PARTITIONS="3")
    with worker:
        with filling(worker, traffic(), rate=700.0):
            place = f"{{{worker.requests}:0}}"
            until(lambda: store._call("GET", PARTITION_KEY + place))
            owner = cluster.owner(place)
            owner.kill()
            owner.start()
            cluster.settle()
            target = next(node for node in cluster.nodes if node is not owner)
            with cluster.moving(place, target):
                pass
            worker.kill()
            worker.start()
        expected = expected_results(worker).stored
        states = {key: value for key, value in expected.items() if key.startswith(PARTITION_KEY)}
        until(
            lambda: (
                {
                    key: store._call("GET", f"{PARTITION_KEY}{{{key.removeprefix(PARTITION_KEY)}}}")
                    for key in states
                }
                == states
            )
        )
        records = [record for page in inventory.pages(store.server) for record in page]
        assert sorted(records) == sorted(
            (key.removeprefix(RECORD_KEY).rpartition(":")[2], value)
            for key, value in expected.items()
            if key.startswith(RECORD_KEY)
        )
