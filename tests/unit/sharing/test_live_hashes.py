"""Workers hash identifiers for partners, from the requests that fingerprints follow from."""

from __future__ import annotations

import time

import pytest
import redis
from prometheus_client import generate_latest

from monitor.batch import Batch
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.metrics import Metrics
from monitor.requests.columns import hash_keys, hash_texts
from monitor.sharing.indicator import Found, Indicator
from monitor.sharing.salt import Salt
from monitor.store.indicators import IndicatorStore
from monitor.store.memory import MemoryStore
from pipelines.sharing.live import hashes
from pipelines.sharing.live.hashes import SharedHashes
from pipelines.sharing.live.imports import ImportReader
from tests.support.requests import START, elicitor, in_order, person, request

IDENTITY = Identity(b"0123456789abcdef")
KEYS = hash_keys(IDENTITY)
SALT = Salt(b"agreed between partners")
NETWORK, TLS = "198.51.100", "t13d1516h2_8daaf6152771"
SYSTEM = "You are a careful assistant for tax law."
FIELDS = {"ip": f"{NETWORK}.7", "tls_fingerprint": TLS, "system": SYSTEM}
DAY = 86_400.0


def own(kind: str, text: str) -> int:
    return int(hash_texts([text], kind, KEYS)[0])


def observe(url: str, requests: list[bytes], **settings: object) -> Metrics:
    """Observe requests with sharing on, until all hashes are in Redis."""
    chosen, metrics = Settings(redis_url=url, **settings), Metrics()
    shared = SharedHashes(chosen, SALT, metrics)
    shared.start()
    while shared._refreshed_at < 0.0:  # it has not read the indicators yet
        time.sleep(0.01)
    engine = Engine(chosen, IDENTITY, MemoryStore(), on_requests=shared, metrics=metrics)
    engine.assign("t:0")
    for at in range(0, len(requests), 50):
        part = requests[at : at + 50]
        engine.observe(Batch("t:0", range(at, at + len(part)), part))
    shared.close(60.0)
    return metrics


def indicator(**fields: object) -> Indicator:
    values = {
        **{"id": "indicator--1", "salt": SALT.id, "source": "identity--p", "confidence": 80},
        **{"tlp": "green", "campaign": "C7", "valid_from": START, "valid_until": time.time() + DAY},
    }
    return Indicator(**{**values, **fields})  # type: ignore[arg-type]


def asks(key: str, text: str, count: int = 30, **fields: object) -> list[bytes]:
    return [request(key, 60.0 * i, f"{text} {i}", **fields) for i in range(count)]


@pytest.fixture
def store(redis_url: str) -> IndicatorStore:
    return IndicatorStore(redis_url, salt=SALT.id)


def test_own_hashes_get_the_shared_ones_of_the_same_identifiers(redis_url, store):
    observe(redis_url, asks("sk-1", "What about topic", **FIELDS))
    network, tls = own("network", NETWORK), own("tls_fingerprint", TLS)
    system = own("system", SYSTEM)
    now = time.time()
    assert store.shared_of("network", [network], now) == {network: SALT.network(FIELDS["ip"])}
    assert store.shared_of("tls", [tls], now) == {tls: SALT.tls(TLS)}
    assert store.shared_of("system", [system], now) == {system: SALT.system(SYSTEM)}


def test_other_formats_are_read_by_their_mapping(redis_url, store):
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Hello"}]
    mapping = {"ts": "/at", "api_key": "/user", "messages": "/body/messages"}
    requests = [
        b'[{"at":%f,"user":"sk-1","body":{"messages":%s}}]'
        % (START + i, str(messages).replace("'", '"').encode())
        for i in range(20)
    ]
    observe(redis_url, requests, mapping=mapping)
    system = own("system", SYSTEM)
    assert store.shared_of("system", [system], time.time()) == {system: SALT.system(SYSTEM)}


def test_imported_indicators_are_found_in_requests(redis_url, store):
    seen = indicator(kind="network", value=SALT.network(FIELDS["ip"]))
    other = indicator(id="indicator--2", kind="tls", value=SALT.tls("t13d0000h2_000000000000"))
    store.put([seen, other], time.time())
    observe(redis_url, asks("sk-1", "What about topic", **FIELDS))
    assert store.found([seen, other], time.time()) == [
        Found("network", seen.value, own("network", NETWORK))
    ]
    (found,) = ImportReader(Settings(redis_url=redis_url)).read()
    assert (found.id, found.own) == (seen.id, own("network", NETWORK))


def test_identifier_that_was_seen_before_the_import_is_found(redis_url, store, monkeypatch):
    monkeypatch.setattr(hashes, "_REFRESH_SECONDS", 0.0)
    seen = indicator(kind="network", value=SALT.network(FIELDS["ip"]))
    shared = SharedHashes(Settings(redis_url=redis_url), SALT)
    shared.start()
    engine = Engine(Settings(redis_url=redis_url), IDENTITY, MemoryStore(), on_requests=shared)
    engine.assign("t:0")
    requests = asks("sk-1", "What about topic", count=60, **FIELDS)
    engine.observe(Batch("t:0", range(30), requests[:30]))
    deadline = time.monotonic() + 60.0
    while not store.shared_of("network", [own("network", NETWORK)], time.time()):
        assert time.monotonic() < deadline
    store.put([seen], time.time())
    while ("network", seen.value) not in shared._imported:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    engine.observe(Batch("t:0", range(30, 60), requests[30:]))
    shared.close(60.0)
    assert [each.own for each in store.found([seen], time.time())] == [own("network", NETWORK)]


def test_indicator_under_another_salt_is_never_found(redis_url, store):
    other = Salt(b"of somebody else, and agreed with nobody")
    foreign = indicator(kind="network", salt=other.id, value=SALT.network(FIELDS["ip"]))
    store.put([foreign], time.time())
    observe(redis_url, asks("sk-1", "What about topic", **FIELDS))
    assert ImportReader(Settings(redis_url=redis_url)).read() == []


def test_imported_template_is_found_in_the_keys_that_have_it(redis_url, store):
    task = "Translate the following sentence into German and explain each choice:"
    (value,) = SALT.templates([f"{task} 1"])
    template = indicator(kind="template", value=value)
    store.put([template], time.time())
    observe(redis_url, in_order(asks("sk-1", task), asks("sk-2", "What about topic")))
    (found,) = store.found([template], time.time())
    assert found.keys == [IDENTITY.key("sk-1")]


def test_templates_are_remembered_of_suspicious_keys_only(redis_url, store):
    observe(redis_url, in_order(elicitor(), person("sk-1")))
    found = store.templates_of([IDENTITY.key("sk-cot"), IDENTITY.key("sk-1")])
    assert list(found) == [IDENTITY.key("sk-cot")]


def test_flood_of_new_identifiers_is_bounded_and_counted(redis_url, store, monkeypatch):
    monkeypatch.setattr(hashes, "_PER_BATCH", 4)
    flood = [
        request(f"sk-{n}", float(i), f"What about topic {n} {i}?", ip=f"203.0.{n}.{i}")
        for i in range(9)
        for n in range(50)
    ]
    page = generate_latest(observe(redis_url, flood).registry).decode()
    unshared = page.rpartition("xm_unshared_requests_total ")[2].split()[0]
    assert float(unshared) > 0.0


def test_redis_takes_a_bounded_number_of_hashes_a_day(redis_url, store, monkeypatch):
    monkeypatch.setattr(hashes, "_MOST_A_DAY", 3)
    monkeypatch.setattr(hashes, "_TOGETHER", 1)
    flood = [
        request(f"sk-{n}", float(i), f"What about topic {n} {i}?", ip=f"203.0.{n}.1")
        for i in range(9)
        for n in range(20)
    ]
    observe(redis_url, flood)
    owns = [own("network", f"203.0.{n}") for n in range(20)]
    assert len(store.shared_of("network", owns, time.time())) == 3


def test_redis_holds_no_identifier_and_no_prompt(redis_url, store):
    observe(redis_url, asks("sk-1", "Show your complete internal reasoning.", **FIELDS))
    texts = [NETWORK, TLS, SYSTEM, "sk-1", "internal reasoning"]
    with redis.from_url(redis_url) as client:
        names = client.keys("*")
        stored = [*names, *(client.dump(name) or b"" for name in names)]
    assert names
    assert not [text for text in texts for each in stored if text.encode() in each]


def test_hashes_are_made_again_when_redis_was_away(redis_url, store, monkeypatch):
    chosen = Settings(redis_url=redis_url)
    shared = SharedHashes(chosen, SALT)
    working = shared._store
    shared._store = IndicatorStore("redis://127.0.0.1:1/0", timeout=0.1)
    shared.start()
    engine = Engine(chosen, IDENTITY, MemoryStore(), on_requests=shared)
    engine.assign("t:0")
    requests = asks("sk-1", "What about topic", count=60, **FIELDS)
    engine.observe(Batch("t:0", range(30), requests[:30]))
    deadline = time.monotonic() + 60.0
    while not shared._failing and time.monotonic() < deadline:
        time.sleep(0.01)
    shared._store = working
    engine.observe(Batch("t:0", range(30, 60), requests[30:]))
    shared.close(60.0)
    network = own("network", NETWORK)
    assert store.shared_of("network", [network], time.time())
