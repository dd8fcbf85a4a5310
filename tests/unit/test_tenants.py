"""Tenants of accounts: found when a pseudonym is made, and written with the checkpoints."""

import pytest
from pydantic import ValidationError

from monitor.batch import Batch
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity, Tenants
from monitor.store.base import Checkpoint
from monitor.store.connection import execute
from monitor.store.memory import MemoryStore
from monitor.store.operate.tenants import TenantStore
from monitor.store.redis import TENANT_KEY, RedisStore
from tests.support.requests import elicitor, in_order, request

SECRET = b"0123456789abcdef"


@pytest.fixture(params=["redis_url", "cluster_url"])
def url(request):
    return request.getfixturevalue(request.param)


def identity(*prefixes, **more):
    return Identity(SECRET, tenants=Tenants(prefixes, **more))


def engine_with(found, values):
    engine = Engine(Settings(), found, MemoryStore())
    engine.assign("t:0")
    outcome = engine.observe(Batch("t:0", range(len(values)), values))
    return engine, outcome


@pytest.mark.parametrize(
    ("account", "tenant"),
    [("acme/1", "acme/"), ("acme/eu/1", "acme/eu/"), ("Acme/1", None), ("globex/1", None)],
)
def test_longest_prefix_of_an_account_is_its_tenant(account, tenant):
    found = identity("acme/", "acme/eu/")
    pseudonym = found.account(account)
    assert found.tenants.take() == ({pseudonym: tenant} if tenant else {})


def test_account_in_use_is_found_again(monkeypatch):
    now = 1_000.0
    monkeypatch.setattr("monitor.identity.time.monotonic", lambda: now)
    found = identity("acme/", again=60.0)
    expected = {found.account("acme/1"): "acme/"}
    assert found.tenants.take() == expected
    found.account("acme/1")
    assert found.tenants.take() == {}
    now += 61.0
    assert found.tenants.take() == {}
    found.account("acme/1")
    assert found.tenants.take() == expected


def test_accounts_that_wait_are_bounded():
    found = identity("acme/", most=2)
    for number in range(5):
        found.account(f"acme/{number}")
    assert len(found.tenants.take()) == 2


def test_tenants_change_no_output():
    values = in_order(elicitor(account="acme/1"), elicitor("sk-2", payment="acme/2"))
    (_, plain), (engine, found) = (
        engine_with(each, values) for each in (Identity(SECRET), identity("acme/"))
    )
    assert engine.snapshot().tenants
    assert (found.alerts, found.decisions) == (plain.alerts, plain.decisions)
    assert [each.value for each in found.fingerprints] == [e.value for e in plain.fingerprints]


def test_failed_checkpoint_leaves_tenants_for_the_next():
    found = identity("acme/")
    engine, _ = engine_with(found, [request(account="acme/1")])
    failed = engine.snapshot()
    engine.rollback(failed)
    assert engine.snapshot().tenants == failed.tenants == {found.account("acme/1"): "acme/"}


def test_forgotten_account_is_not_written():
    found = identity("acme/")
    engine, _ = engine_with(found, [request(account="acme/1")])
    engine.forget([found.account("acme/1")])
    assert engine.snapshot().tenants == {}


def test_tenants_are_read_and_outlive_a_record(url):
    store, tenants = RedisStore(url, 100), TenantStore(url)
    store.commit(Checkpoint(tenants={"a_1": "acme/", "a_2": "globex/"}))
    assert tenants.of(["a_2", "a_3", "a_1"]) == {"a_1": "acme/", "a_2": "globex/"}
    assert tenants.of([]) == {}
    with tenants.server.connection(TENANT_KEY + "a_1") as connection:
        (left,) = execute(connection, [("TTL", TENANT_KEY + "a_1")])
    assert 100 < left <= 125


@pytest.mark.parametrize("wrong", ["", "a cme/", "acme,", "*"])
def test_tenant_that_no_line_of_users_can_name_is_refused(wrong):
    with pytest.raises(ValidationError):
        Settings(tenants=[wrong])
