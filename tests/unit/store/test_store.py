"""What every store must do, tried on each of them."""

import itertools
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import exceptions as errors

from monitor.alerting.decisions import Decision
from monitor.errors import (
    ConfigError,
    FencedError,
    StoreError,
    StoreRefusedError,
    StoreUnavailableError,
)
from monitor.store.base import Checkpoint
from monitor.store.cluster import Cluster
from monitor.store.memory import MemoryStore
from monitor.store.record_block import Block
from monitor.store.redis import RedisStore
from monitor.store.redis_errors import ACL, to_store_error
from pipelines.demo.embedded import free_port
from tests.support.stores import decision_in

BLOCK = Decision("k_1", "block", "a_1", made_at=1.0, seconds=60.0)


def server(name):
    return pytest.param(name, marks=pytest.mark.kafka)


@pytest.fixture(params=["memory", server("redis_url"), server("cluster_url")])
def store(request):
    if request.param == "memory":
        return MemoryStore()
    return RedisStore(request.getfixturevalue(request.param), record_seconds=100)


def joined(values):
    """Values one after another, and where each ends."""
    ends = np.cumsum([len(value) for value in values], dtype=np.int64)
    return np.frombuffer(b"".join(values), np.uint8), ends


def named(store, **records):
    """Records of keys with requests in partition 0."""
    return dict(zip(store.names("t:0", list(records)), records.values(), strict=True))


def load(store, *keys):
    return store.load(store.names("t:0", keys))


def test_store_loads_what_was_committed(store):
    store.commit(Checkpoint(named(store, k_1=b"one", k_2=b"\x00two"), {"t:0": b"state"}))
    assert load(store, "k_2", "k_3", "k_1") == [b"\x00two", None, b"one"]
    assert store.claim("t:0")[1] == b"state"
    assert store.claim("t:1")[1] is None


def test_later_checkpoint_replaces_an_earlier_one(store):
    store.commit(Checkpoint(named(store, k_1=b"one")))
    store.commit(Checkpoint(named(store, k_1=b"two")))
    assert load(store, "k_1") == [b"two"]


def test_many_records_are_loaded_in_order(store):
    records = named(store, **{f"k_{i}": b"%d" % i for i in range(2_500)})
    store.commit(Checkpoint(records))
    assert store.load(list(records)) == list(records.values())


def test_block_is_stored_like_single_records(store):
    values = [np.random.default_rng(i).bytes(i % 900) for i in range(3_000)]
    names = store.names("t:0", [f"k_{'x' * (i % 3)}{i}" for i in range(len(values))])
    block = Block(list(names), *joined(values))
    assert dict(block) == dict(zip(names, values, strict=True))
    store.commit(Checkpoint(block, {"t:0": b"state"}))
    assert store.load(names) == values
    assert store.claim("t:0")[1] == b"state"


def test_checkpoint_may_have_no_records(store):
    store.commit(Checkpoint(Block([], *joined([])), {"t:0": b"state"}))
    assert store.claim("t:0")[1] == b"state"


def test_baselines_of_all_partitions_are_read(store):
    store.commit(Checkpoint(baselines={"t:0": b"then", "t:1": b"\x00other"}))
    store.commit(Checkpoint(baselines={"t:0": b"now"}))
    assert store.baselines() == {"t:0": b"now", "t:1": b"\x00other"}


def test_rows_stay_until_they_are_deleted(store):
    store.commit(Checkpoint(rows={"f:0": {"k_1": b"one", "k_2": b"\x00two"}, "f:1": {"k_1": b""}}))
    store.commit(Checkpoint(rows={"f:0": {"k_1": None, "k_2": b"2", "k_3": None}}))
    assert store.rows("f:0") == {"k_2": b"2"}
    assert store.rows("f:1") == {"k_1": b""}
    assert store.rows("f:2") == {}


def test_many_rows_are_kept_and_deleted(store):
    rows = {f"k_{i}": b"%d" % i for i in range(2_500)}
    store.commit(Checkpoint(rows={"f:0": dict(rows)}))
    assert store.rows("f:0") == rows
    store.commit(Checkpoint(rows={"f:0": {key: None for key in rows if key != "k_7"}}))
    assert store.rows("f:0") == {"k_7": b"7"}


def test_older_claim_writes_no_row(store):
    claim, _ = store.claim("f:0")
    store.commit(Checkpoint(rows={"f:0": {"k_1": b"one"}}, claims={"f:0": claim}))
    store.claim("f:0")
    changed = {"k_1": None, "k_2": b"two"}
    with pytest.raises(FencedError, match="f:0"):
        store.commit(Checkpoint(rows={"f:0": changed}, claims={"f:0": claim}))
    assert store.rows("f:0") == {"k_1": b"one"}


CHANGES = st.dictionaries(st.sampled_from(["k_1", "k_2", "k_3"]), st.none() | st.binary(max_size=4))


@given(st.lists(st.dictionaries(st.sampled_from(["f:0", "f:1"]), CHANGES), max_size=6))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_are_those_of_the_last_checkpoint(store, checkpoints):
    everything = {"k_1": None, "k_2": None, "k_3": None}
    store.commit(Checkpoint(rows={"f:0": dict(everything), "f:1": dict(everything)}))
    expected = {"f:0": dict(everything), "f:1": dict(everything)}
    for rows in checkpoints:
        store.commit(Checkpoint(rows=rows))
        for name, changed in rows.items():
            expected[name] |= changed
    for name, rows in expected.items():
        assert store.rows(name) == {key: row for key, row in rows.items() if row is not None}


@pytest.mark.parametrize("where", [server("redis_url"), server("cluster_url")])
def test_reopened_store_has_state_and_rows_of_one_checkpoint(request, where):
    url = request.getfixturevalue(where)
    store = RedisStore(url, 100)
    for n in range(3):
        rows = {"k_1": b"%d" % n, "k_2": None if n == 2 else b"two"}
        store.commit(Checkpoint(partitions={"f:0": b"%d" % n}, rows={"f:0": rows}))
    reopened = RedisStore(url, 100)
    assert reopened.claim("f:0")[1] == b"2"
    assert reopened.rows("f:0") == {"k_1": b"2"}


def plain(decision):
    """A stored decision without the end that the store added."""
    return Decision(**{name: getattr(decision, name) for name in Decision.__struct_fields__})


def test_decision_is_in_force(store):
    store.commit(Checkpoint(decisions=[BLOCK]))
    found = decision_in(store, "k_1")
    assert plain(found) == BLOCK
    assert found.until == pytest.approx(time.time() + 60, abs=10)
    assert decision_in(store, "k_2") is None


def test_decision_counts_from_the_arrival_of_its_request(store):
    arrived = time.time() - 45
    store.commit(Checkpoint(decisions=[BLOCK], arrivals={("detector", "k_1"): arrived}))
    assert decision_in(store, "k_1").until == pytest.approx(arrived + 60)


def test_decision_that_is_over_at_its_write_is_not_in_force(store):
    arrived = time.time() - 61
    store.commit(Checkpoint(decisions=[BLOCK], arrivals={("detector", "k_1"): arrived}))
    assert decision_in(store, "k_1") is None


def test_arrival_in_the_future_does_not_extend_a_decision(store):
    arrived = time.time() + 1_000
    store.commit(Checkpoint(decisions=[BLOCK], arrivals={("detector", "k_1"): arrived}))
    assert decision_in(store, "k_1").until < time.time() + 61


def test_redis_ends_a_decision_when_its_until_says(redis_url):
    arrived = time.time() - 45
    store = RedisStore(redis_url, 100)
    store.commit(Checkpoint(decisions=[BLOCK], arrivals={("detector", "k_1"): arrived}))
    with redis.from_url(redis_url) as client:
        left = client.pttl("xm:d:k_1") / 1000
    assert time.time() + left == pytest.approx(decision_in(store, "k_1").until, abs=0.5)


def test_decision_of_an_older_version_is_read(redis_url):
    with redis.from_url(redis_url) as client:
        client.set("xm:d:k_1", msgspec.json.encode(BLOCK))
    found = decision_in(RedisStore(redis_url, 100), "k_1")
    assert plain(found) == BLOCK
    assert found.until == 61.0


def test_stronger_decision_of_detector_and_campaign_applies(store):
    throttle = Decision("k_1", "throttle", "a_2", made_at=2.0, seconds=60.0)
    campaign = Decision("k_1", "block", "a_3", made_at=1.0, seconds=60.0, origin="campaign")
    store.commit(Checkpoint(decisions=[campaign]))
    store.commit(Checkpoint(decisions=[throttle]))
    assert plain(decision_in(store, "k_1")) == campaign
    store.commit(Checkpoint(decisions=[BLOCK]))
    assert plain(decision_in(store, "k_1")) == BLOCK


def test_decisions_of_several_keys_are_found_at_once(store):
    campaign = Decision("k_2", "throttle", "a_3", made_at=1.0, seconds=60.0, origin="campaign")
    store.commit(Checkpoint(decisions=[BLOCK, campaign]))
    found = store.in_force([f"k_{n}" for n in range(3)])
    assert [[*map(plain, each)] for each in found] == [[], [BLOCK], [campaign]]
    assert store.in_force([]) == []


def test_unreadable_decision_is_logged_and_left_out(redis_url, caplog):
    store = RedisStore(redis_url, 100)
    store.commit(Checkpoint(decisions=[BLOCK]))
    with redis.from_url(redis_url) as client:
        client.set("xm:d:k_2", b'{"action": "of a newer version"}')
    found = store.in_force(["k_1", "k_2"])
    assert [[*map(plain, each)] for each in found] == [[BLOCK], []]
    assert "decision_unreadable key=k_2" in caplog.text


def test_lost_claim_is_told_from_another_worker(redis_url):
    store = RedisStore(redis_url, 100)
    claim, _ = store.claim("t:0")
    with redis.from_url(redis_url) as client:
        client.flushdb()
    with pytest.raises(FencedError, match="has lost its data"):
        store.commit(Checkpoint(partitions={"t:0": b"state"}, claims={"t:0": claim}))


def test_latest_claim_writes(store):
    store.claim("t:0")
    claim, _ = store.claim("t:0")
    store.commit(Checkpoint(named(store, k_1=b"one"), claims={"t:0": claim}))
    assert load(store, "k_1") == [b"one"]


def test_older_claim_writes_nothing(store):
    claim, _ = store.claim("t:0")
    store.claim("t:0")
    with pytest.raises(FencedError, match="t:0"):
        store.commit(Checkpoint(named(store, k_1=b"one"), {"t:0": b"state"}, claims={"t:0": claim}))
    assert load(store, "k_1") == [None]
    assert store.claim("t:0")[1] is None


def test_empty_checkpoint_is_accepted(store):
    store.commit(Checkpoint())
    store.ping()


def test_decision_expires():
    now = 100.0
    store = MemoryStore(clock=lambda: now)
    store.commit(Checkpoint(decisions=[BLOCK]))
    now += BLOCK.seconds
    assert decision_in(store, "k_1") is None


def test_redis_expires_decisions_and_idle_records(redis_url):
    store = RedisStore(redis_url, record_seconds=100)
    store.commit(Checkpoint({"k_1": b"one"}, decisions=[BLOCK]))
    with redis.from_url(redis_url) as client:
        assert 0 < client.ttl("xm:d:k_1") <= 60
        assert 0 < client.ttl("xm:p:k_1") <= 100


def test_redis_that_is_down_is_named_with_a_remedy():
    port = free_port()
    store = RedisStore(f"redis://127.0.0.1:{port}", 100, timeout=0.2)
    with pytest.raises(StoreError, match=rf"127.0.0.1:{port} is away.*XM_REDIS_URL"):
        store.load(["k_1"])


def test_full_redis_writes_nothing_of_a_checkpoint(own_redis):
    store, rows = RedisStore(own_redis.url, record_seconds=100), {"t:0": {"k_1": b"row"}}
    with redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory", "1")
        try:
            with pytest.raises(StoreError, match=r"is full.*maxmemory"):
                store.commit(Checkpoint({"k_1": b"one"}, {"t:0": b"state"}, rows))
        finally:
            client.config_set("maxmemory", "0")
    assert store.load(["k_1"]) == [None]
    assert store.rows("t:0") == {}
    assert store.claim("t:0")[1] is None


def test_read_only_redis_is_named_with_a_remedy(own_redis):
    store = RedisStore(own_redis.url, record_seconds=100)
    with redis.from_url(own_redis.url) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", free_port())
        try:
            with pytest.raises(StoreError, match="is read-only: point XM_REDIS_URL at the primary"):
                store.commit(Checkpoint({"k_1": b"one"}))
        finally:
            client.execute_command("REPLICAOF", "NO", "ONE")


def test_text_that_is_no_url_is_rejected():
    with pytest.raises(ConfigError, match="XM_REDIS_URL"):
        RedisStore("localhost:6379", 100)


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://monitor:12/3@host",
        "redis://monitor:12?3@host",
        "redis://monitor:12#3@host",
        "redis://monitor:secret:6379",
        "redis://host:99999/0",
        "redis+sentinel://host:26379",
        "redis+cluster://host:6379/0",
        "redis+cluster://one;two",
        "redis+sentinel://host:26379;other:26379/main",
        "http://host/0",
    ],
)
def test_unusable_url_is_explained_but_not_shown(url):
    with pytest.raises(ConfigError, match=r"XM_REDIS_URL.*redis://USER:PASSWORD@HOST") as raised:
        RedisStore(url, 100)
    assert "12" not in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("ssl_ca_certs=/no/where", "ssl_ca_certs is /no/where, which cannot be read"),
        ("ssl_cacerts=/etc", "there is no option ssl_cacerts"),
        ("ssl_cert_reqs=maybe", "maybe"),
    ],
)
@pytest.mark.parametrize(
    "place", ["rediss://host/0", "rediss+sentinel://host/main/0", "rediss+cluster://host"]
)
def test_unusable_option_is_named(place, options, reason):
    with pytest.raises(ConfigError, match=rf"XM_REDIS_URL cannot be used \(.*{reason}"):
        RedisStore(f"{place}?{options}", 100)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://monitor:secret@host", "host:6379"),
        ("rediss://:secret@[::1]:7000/2", "::1:7000"),
        ("unix://monitor:secret@/run/redis.sock?db=2", "/run/redis.sock"),
        ("redis+sentinel://:secret@one,two:26380/main/2", "main of one,two:26380"),
        ("redis+cluster://monitor:secret@one,two:7001/", "one,two:7001"),
    ],
)
def test_store_name_shows_no_login(url, name):
    assert repr(RedisStore(url, 100)) == f"RedisStore({name})"


def test_documented_acl_is_what_the_store_needs():
    page = (Path(__file__).parents[3] / "deploy/docs/operations.md").read_text()
    assert f"ACL SETUSER monitor on >PASSWORD {ACL}`" in " ".join(page.split())


@pytest.mark.parametrize("where", [server("redis_url"), server("cluster_url")])
def test_claim_during_a_commit_fences_it(request, where, monkeypatch):
    url = request.getfixturevalue(where)
    store, successor = RedisStore(url, 100), RedisStore(url, 100)
    claim, _ = store.claim("t:0")
    check = RedisStore._check_claims

    def check_then_lose(self, connection, claims):
        check(self, connection, claims)
        successor.claim("t:0")

    monkeypatch.setattr(RedisStore, "_check_claims", check_then_lose)
    with pytest.raises(FencedError):
        store.commit(Checkpoint(named(store, k_1=b"one"), claims={"t:0": claim}))
    assert load(store, "k_1") == [None]


def test_cluster_keeps_a_partition_in_one_slot(cluster_url):
    store = RedisStore(cluster_url, 100)
    claims = {"t:0": store.claim("t:0")[0]}
    rows = {"t:0": {"k_1": b"row"}}
    store.commit(Checkpoint(named(store, k_1=b"one"), {"t:0": b"state"}, rows, claims=claims))
    with redis.from_url(cluster_url.replace("+cluster", "")) as client:
        names = [b"xm:c:{t:0}", b"xm:f:{t:0}", b"xm:o:{t:0}", b"xm:p:{t:0}:k_1"]
        assert sorted(client.keys()) == names


def test_cluster_keeps_a_record_per_key_and_partition(cluster_url):
    store = RedisStore(cluster_url, 100)
    here, there = (store.names(partition, ["k_1"]) for partition in ("t:0", "t:1"))
    store.commit(Checkpoint({here[0]: b"one", there[0]: b"other"}))
    assert store.load(here) + store.load(there) == [b"one", b"other"]


def test_threads_share_a_cluster_while_its_owners_change(monkeypatch):
    changes = itertools.count()

    def fetch(_self, _address, _servers):
        first = next(changes) % 7 * 100
        return [("host", first + slot % 150) for slot in range(16_384)]

    def work():
        for _ in range(60):
            cluster._may_retry(redis.ConnectionError())
            cluster.nodes()

    cluster = Cluster("redis+cluster://one,two", 1.0)
    monkeypatch.setattr(Cluster, "_fetch_slots", fetch)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            for each in [threads.submit(work) for _ in range(8)]:
                each.result()
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.NoPermissionError("no permissions to run the 'get' command"), StoreRefusedError),
        (errors.AuthenticationError("invalid username-password pair"), StoreRefusedError),
        (errors.ResponseError("unknown command 'MEMORY'"), StoreRefusedError),
        (errors.ResponseError("DB index is out of range"), StoreRefusedError),
        (errors.MovedError("1 host:6379"), StoreRefusedError),
        (errors.ReadOnlyError("You can't write against a replica."), StoreUnavailableError),
        (errors.OutOfMemoryError("command not allowed"), StoreUnavailableError),
        (errors.BusyLoadingError("loading the dataset"), StoreUnavailableError),
        (errors.ConnectionError("Connection refused"), StoreUnavailableError),
        (errors.TimeoutError("Timeout reading from socket"), StoreUnavailableError),
        (errors.ResponseError("MISCONF errors writing to the AOF"), StoreUnavailableError),
        (errors.ResponseError("something new"), StoreUnavailableError),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_redis_errors_tell_whether_a_retry_helps(error, kind):
    assert type(to_store_error(error, "host:6379")) is kind


def test_cluster_errors_during_a_change_may_be_retried():
    for error in (errors.MovedError("1 host:6379"), errors.TryAgainError()):
        assert type(to_store_error(error, "host", cluster=True)) is StoreUnavailableError
