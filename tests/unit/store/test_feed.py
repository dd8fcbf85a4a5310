import msgspec
import pytest
import redis

from monitor.alerting.decisions import ActiveDecision, Decision
from monitor.store.base import Checkpoint
from monitor.store.redis import RedisStore

BLOCK = Decision("k_1", "block", "a_1", made_at=1.0, seconds=60.0)


@pytest.fixture
def client(redis_url):
    with redis.from_url(redis_url) as client:
        yield client


def test_commit_adds_each_decision_to_the_feed(redis_url, client):
    campaign = Decision("k_2", "throttle", "a_3", made_at=1.0, seconds=60.0, origin="campaign")
    RedisStore(redis_url, 100).commit(Checkpoint(decisions=[BLOCK, campaign]))
    entries = [entry for _, entry in client.xrange("xm:feed")]
    assert [entry[b"name"] for entry in entries] == [b"xm:d:k_1", b"xm:d:campaign:k_2"]
    assert [entry[b"value"] for entry in entries] == [
        client.get("xm:d:k_1"),
        client.get("xm:d:campaign:k_2"),
    ]
    assert msgspec.json.decode(entries[0][b"value"], type=ActiveDecision).expires_at is not None


def test_checkpoint_that_is_refused_adds_nothing_to_the_feed(redis_url, client):
    store, successor = RedisStore(redis_url, 100), RedisStore(redis_url, 100)
    claim, _ = store.claim("t:0")
    successor.claim("t:0")
    with pytest.raises(Exception, match="claimed by another worker"):
        store.commit(Checkpoint(claims={"t:0": claim}, decisions=[BLOCK]))
    assert client.xlen("xm:feed") == 0
