import time

import msgspec
import pytest

from monitor.alerting.alerts import Alert, Subject
from monitor.alerting.decisions import Decision
from monitor.errors import InputError
from monitor.store.alert_book import AlertBook, Entry
from monitor.store.base import Checkpoint
from monitor.store.cluster import connect
from monitor.store.connection import execute
from monitor.store.control import ControlStore
from monitor.store.operate import erasure
from monitor.store.operate.erasure import ErasureStore
from monitor.store.redis import RedisStore
from monitor.tracing.responses.sketch import Sketch
from monitor.tracing.responses.store import ResponseStore

KEY, OTHER = "k_" + "1" * 24, "k_" + "2" * 24
BY = {"who": "ann", "why": "INC-7"}
NAMES = ["llm.requests:0", "extraction.fingerprints:0"]


@pytest.fixture(params=["redis_url", "cluster_url"])
def url(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def store(url):
    return ErasureStore(url)


def alert_on(subject, *members, id="a_1"):
    kind = "campaign" if members else "burst"
    about = Subject("campaign" if members else "api_key", subject, list(members))
    return Alert(id, kind, "open", "critical", 1.0, about, 1.0, (0.0, 1.0), {}, "…", "block")


def fill(url):
    """Everything that Redis may have of KEY, and the same of OTHER."""
    records = RedisStore(url, 100)
    for partition in NAMES:
        records.claim(partition)
    named = [records.names(NAMES[0], [key])[0] for key in (KEY, OTHER)]
    block = [Decision(key, "block", "a_1", 0.0, 600.0) for key in (KEY, OTHER)]
    rows = {NAMES[1]: {KEY: b"row", OTHER: b"row"}}
    baselines = {NAMES[0]: b"baseline"}
    checkpoint = Checkpoint(dict.fromkeys(named, b"record"), {}, rows, baselines, block)
    checkpoint.tenants = {KEY: "acme/", OTHER: "acme/"}
    records.commit(checkpoint)
    control, book = ControlStore(url), AlertBook(url)
    for key in (KEY, OTHER):
        control.allow(key, "sales", 60.0, **BY)
        control.decide(key, "block", 60.0, **BY)
        control.withdraw(f"a_{key}", key, "burst", "critical", **BY)
        ResponseStore(url).add({key: [Sketch(20, 2, 0, b"12345678")]}, time.time())
    alerts = [
        alert_on(KEY),
        alert_on(OTHER, id="a_2"),
        alert_on("c_1", KEY, OTHER, id="a_3"),
    ]
    book.write([Entry(each, 0, 1.0, 1.0) for each in alerts])
    book.join([KEY, OTHER], "a_3")
    return records


def everything(url):
    """All that Redis has, but for the audit, the feed and the requests to erase."""

    server, found = connect(url, 5.0), []
    for node in server.nodes():
        with node() as connection:
            for name in execute(connection, [("KEYS", "*")])[0]:
                if name in (b"xm:audit", b"xm:feed") or name.startswith(b"xm:forgotten"):
                    continue
                (kind,) = execute(connection, [("TYPE", name)])
                read = {
                    b"string": ("GET", name),
                    b"hash": ("HGETALL", name),
                    b"zset": ("ZRANGE", name, 0, -1),
                }[kind]
                found.append((name, execute(connection, [read])[0]))
    return repr(found)


def test_erased_subject_is_nowhere_and_others_stay(url, store):
    fill(url)
    assert KEY in everything(url)
    erased = store.erase(KEY, store.partitions("extraction.fingerprints"))
    assert erased == {
        "records": 1, "decisions": 2, "allow-list entries": 1, "withdrawals": 1, "alerts": 2,
        "sketches of responses": 1, "tenants": 1,
    }  # fmt: skip
    left = everything(url).replace(f"b'{KEY}', b'row'", "")  # the linker's, see its operator
    assert KEY not in left
    assert left.count(OTHER) > 8
    assert store.erase(KEY, NAMES) == {}


def test_gateways_are_told_that_decisions_are_gone(url, store):
    fill(url)
    control = ControlStore(url)
    start = control.position()
    store.erase(KEY, NAMES)
    changed = {entry.name for entry in control.feed(start).entries if not entry.value}
    assert {f"xm:d:{KEY}", f"xm:d:operator:{KEY}", f"xm:allow:{KEY}"} <= changed


def test_request_is_audited_and_kept_until_all_have_done_it(url, store):
    asked = store.request(KEY, **BY)
    assert store.requests() == [asked]
    (change,) = ControlStore(url).audit()
    assert (change.what, change.subject, change.who, change.id) == ("forget", KEY, "ann", asked.id)
    store.mark_done([(asked.id, NAMES[0])])
    assert store.done() == {(asked.id, NAMES[0])}


def test_partitions_are_those_with_state(url, store):
    fill(url)
    assert store.partitions("extraction.fingerprints") == NAMES


def test_old_requests_are_pruned(url, store, monkeypatch):
    asked = store.request(KEY, **BY)
    store.mark_done([(asked.id, "t:0")])
    later = time.time() + erasure.KEPT_SECONDS + 60
    monkeypatch.setattr(erasure.time, "time", lambda: later)
    assert store.requests() == []
    store._prune(later)
    assert store.done() == set()


@pytest.mark.parametrize(("subject", "why"), [("sk-live-1", "x"), (KEY, "")])
def test_request_needs_a_pseudonym_and_a_reason(url, store, subject, why):
    with pytest.raises(InputError) as raised:
        store.request(subject, "ann", why)
    assert "sk-live" not in str(raised.value)


def test_request_is_readable_by_an_older_and_a_newer_version():
    value = msgspec.json.encode({"id": "o_1", "subject": KEY, "at": 1.0, "more": 2})
    assert msgspec.json.decode(value, type=erasure.Erasure).subject == KEY
