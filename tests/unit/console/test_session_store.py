import pytest
import redis
from redis.crc import key_slot

from monitor.errors import StoreUnavailableError
from pipelines.console.access.session_store import (
    IDLE_SECONDS,
    LONGEST_SECONDS,
    Entry,
    SessionStore,
)

NOW = 1_772_000_000.0


@pytest.fixture
def sessions(redis_url):
    return SessionStore(redis_url)


def begin(sessions, name, now=NOW):
    return sessions.begin(Entry(name, "token", "proof", now, now))


def test_session_is_found_by_its_id_and_redis_does_not_have_the_id(sessions, redis_url):
    id = begin(sessions, "alice")
    session, notices = sessions.find(id, NOW)
    assert (session.name, session.by, session.proof, notices) == ("alice", "token", "proof", [])
    with redis.from_url(redis_url) as client:
        for name in client.scan_iter():
            kind = client.type(name)
            read = {b"string": client.get, b"zset": lambda key: client.zrange(key, 0, -1)}[kind]
            assert id.encode() not in name
            assert id not in repr(read(name))
    assert sessions.find(id[:-1] + "_", NOW) is None
    assert sessions.find("", NOW) is None


def test_session_ends_when_idle_and_at_its_longest(sessions):
    idle = begin(sessions, "alice")
    assert sessions.find(idle, NOW + IDLE_SECONDS - 1, use=False) is not None
    assert sessions.find(idle, NOW + IDLE_SECONDS) is None
    assert sessions.find(idle, NOW) is None
    used, now = begin(sessions, "alice"), NOW
    while now < NOW + LONGEST_SECONDS:
        assert sessions.find(used, now) is not None
        now += IDLE_SECONDS - 1
    assert sessions.find(used, now) is None


def test_session_that_has_ended_is_not_revived_by_a_request_on_its_way(sessions, monkeypatch):
    id = begin(sessions, "alice")
    write = sessions._write

    def write_late(*arguments):
        sessions.end(id)
        write(*arguments)

    monkeypatch.setattr(sessions, "_write", write_late)
    sessions.find(id, NOW + 60)
    assert sessions.find(id, NOW + 60) is None


def test_all_sessions_of_a_person_end_at_once(sessions):
    first, second = (begin(sessions, "alice") for _ in range(2))
    other = begin(sessions, "bob")
    assert sessions.end_all("alice") == 2
    assert sessions.find(first, NOW) is None
    assert sessions.find(second, NOW) is None
    assert sessions.find(other, NOW) is not None


def test_sessions_of_a_person_are_bounded(sessions):
    ids = [begin(sessions, "alice", NOW + i) for i in range(22)]
    alive = [sessions.find(id, NOW + 30) is not None for id in ids]
    assert alive == [False, False] + [True] * 20


def test_session_goes_on_while_redis_is_away_until_it_is_idle_or_ended(sessions, monkeypatch):
    id, ended, unknown = (begin(sessions, "alice") for _ in range(3))
    for each in (id, ended):
        sessions.find(each, NOW)
    sessions.end(ended)

    def away(*_):
        raise StoreUnavailableError("Redis is away.")

    monkeypatch.setattr(sessions, "_send", away)
    assert sessions.find(id, NOW + 60)[0].name == "alice"
    for gone, now in ((id, NOW + IDLE_SECONDS), (ended, NOW), (unknown, NOW)):
        with pytest.raises(StoreUnavailableError):
            sessions.find(gone, now)


def test_notices_are_shown_once(sessions):
    id = begin(sessions, "alice")
    sessions.set_notices(id, ["The key is blocked."])
    assert sessions.find(id, NOW)[1] == ["The key is blocked."]
    sessions.set_notices(id, [])
    assert sessions.find(id, NOW)[1] == []


def test_commands_that_are_sent_together_have_one_slot_of_a_cluster(sessions, monkeypatch):
    send, slots = sessions._send, []

    def send_and_note(*commands):
        slots.append({key_slot(command[1].encode()) for command in commands})
        return send(*commands)

    monkeypatch.setattr(sessions, "_send", send_and_note)
    id = begin(sessions, "alice")
    sessions.set_notices(id, ["text"])
    sessions.find(id, NOW)
    sessions.end_all("alice")
    assert {len(each) for each in slots} == {1}
