import time

import msgspec
import pytest
import redis

from monitor.store.operate.processes import (
    KEPT_SECONDS,
    MOST_PROCESSES,
    PROCESS_KEY,
    PROCESSES_KEY,
    LastError,
    Place,
    Process,
    ProcessStore,
    ReceiverHealth,
)

NOW = 1_772_000_000.0


@pytest.fixture(params=["redis_url", "cluster_url"])
def url(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def store(url):
    return ProcessStore(url)


def process(id="p", at=NOW, **others):
    facts = {"host": "h", "pid": 7, "roles": ["watch"], "version": "1", "started": 0.0}
    return Process(id=id, at=at, **facts | others)


def test_heartbeat_is_read_as_it_was_written(store):
    full = process(
        partitions=[Place("t:0", 7, 3, NOW), Place("t:1", 0, None, 0.0)],
        receivers=[ReceiverHealth("pager", "pagerduty", False, 2, NOW, "answers 500")],
        drift={"hour": 0.02},
        last_error=LastError(NOW, "worker_stops"),
    )
    store.beat(full)
    assert store.read() == [full]
    assert full.lag == 3


def test_newer_heartbeat_replaces_older_one(store):
    store.beat(process())
    store.beat(process(at=NOW + 5))
    assert [each.at for each in store.read()] == [NOW + 5]


def test_stopped_process_is_forgotten(store):
    store.beat(process("p"))
    store.beat(process("q"))
    store.forget("p")
    assert [each.id for each in store.read()] == ["q"]


def test_killed_process_counts_as_gone_until_it_expires(store):
    store.beat(process("killed"))
    store.beat(process("lives", at=NOW + 60))
    assert [each.is_alive(NOW + 60) for each in store.read()] == [False, True]
    with store.server.connection(PROCESS_KEY + "killed") as connection:
        connection.send_command("TTL", PROCESS_KEY + "killed")
        assert 0 < connection.read_response() <= KEPT_SECONDS


def test_ids_of_expired_processes_are_pruned(store):
    store.beat(process("old"))
    store.beat(process("new", at=NOW + KEPT_SECONDS + 1))
    with store.server.connection(PROCESSES_KEY) as connection:
        connection.send_command("ZRANGE", PROCESSES_KEY, 0, -1)
        assert connection.read_response() == [b"new"]


def test_number_and_size_of_heartbeats_are_bounded(redis_url):
    store = ProcessStore(redis_url)
    with redis.from_url(redis_url) as client:
        client.zadd(PROCESSES_KEY, {f"p{n}": NOW + n / 1e4 for n in range(MOST_PROCESSES + 5)})
    places = [Place(f"t:{n}", 0, 0, 0.0) for n in range(5_000)]
    store.beat(process("q", NOW + 1, partitions=places, trouble=5_000 * "x"))
    with redis.from_url(redis_url) as client:
        assert client.zcard(PROCESSES_KEY) == MOST_PROCESSES
        assert client.strlen(PROCESS_KEY + "q") < 32 << 10


def test_heartbeat_of_newer_version_is_left_out(store):
    value = msgspec.to_builtins(process("new")) | {"partitions": "many"}
    store.beat(process("new"))
    with store.server.connection(PROCESS_KEY + "new") as connection:
        connection.send_command("SET", PROCESS_KEY + "new", msgspec.json.encode(value))
        connection.read_response()
    assert store.read() == []


def test_clock_is_that_of_redis(store):
    found = store.clock()
    assert found is not None
    assert abs(found - time.time()) < 60
