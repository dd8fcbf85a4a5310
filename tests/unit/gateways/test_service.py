import hashlib
import time

import pytest

from monitor.alerting.decisions import Decision
from monitor.config import Gateway
from monitor.errors import StoreUnavailableError
from monitor.identity import Identity
from monitor.metrics import Metrics
from monitor.requests.mappings import FieldMapping
from monitor.store.base import Checkpoint
from monitor.store.memory import MemoryStore
from pipelines.gateways.decisions import Decisions
from pipelines.gateways.keys import KeyReader
from pipelines.gateways.service import DecisionService

IDENTITY = Identity(b"0123456789abcdef")


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def metrics():
    return Metrics()


def service_on(store, metrics, *, shadow=False):
    reader = KeyReader(Gateway())
    mapping = FieldMapping("native")
    return DecisionService(reader, Decisions(store), IDENTITY, mapping, metrics, shadow=shadow)


@pytest.fixture
async def service(store, metrics):
    return service_on(store, metrics)


def decided(subject, action, **fields):
    return Decision(subject, action, "a_1", time.time(), 60.0, **fields)


def decide(store, key, action):
    store.commit(Checkpoint(decisions=[decided(IDENTITY.key(key), action)]))


def bearer(key):
    return [("Authorization", f"Bearer {key}")]


@pytest.mark.parametrize(
    ("action", "status"), [("throttle", 200), ("challenge", 401), ("block", 403)]
)
async def test_answer_has_status_headers_and_body(service, store, action, status):
    decide(store, "sk-1", action)
    answer = await service.answer(bearer("sk-1"))
    assert answer.status == status
    assert answer.headers["X-XM-Decision"] == action
    assert answer.headers["X-XM-Subject"] == IDENTITY.key("sk-1")
    assert answer.headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)
    assert answer.body.pop("until") == pytest.approx(time.time() + 60, abs=5)
    assert answer.body == {"decision": action, "reason": "a_1", "scope": "api_key"}


async def test_key_without_a_decision_passes(service):
    answer = await service.answer(bearer("sk-1"))
    assert (answer.status, answer.body["decision"]) == (200, "observe")


@pytest.mark.parametrize(
    "headers",
    [
        [("X-API-Key", "junk"), *bearer("sk-bad")],
        [("X-API-Key", "sk-bad"), *bearer("junk")],
        [("Authorization", "Bearer\tsk-bad")],
        [("Authorization", "Basic !"), ("api-key", "sk-bad")],
    ],
)
async def test_blocked_key_cannot_hide_beside_another(service, store, headers):
    decide(store, "sk-bad", "block")
    assert (await service.answer(headers)).status == 403


async def test_decisions_on_account_and_end_user_apply(service, store):
    subjects = {
        ("X-XM-Account", "acme"): IDENTITY.account("acme"),
        ("X-XM-End-User", "mallory"): IDENTITY.end_user("sk-1", "mallory"),
    }
    for header, subject in subjects.items():
        scope = header[0][5:].lower().replace("-", "_")
        store.commit(Checkpoint(decisions=[decided(subject, "block", scope=scope)]))
        answer = await service.answer([*bearer("sk-1"), header])
        assert (answer.status, answer.body["scope"]) == (403, scope)
        other = (header[0], "another")
        assert (await service.answer([*bearer("sk-1"), other])).status == 200
    mallory = ("X-XM-End-User", "mallory")
    assert (await service.answer([*bearer("sk-2"), mallory])).status == 200


async def test_raw_key_meets_the_hash_in_the_log(service, store):
    decide(store, hashlib.sha256(b"sk-bad").hexdigest(), "block")
    assert (await service.answer(bearer("sk-bad"))).status == 403


async def test_unreadable_key_does_not_pass(service):
    answer = await service.answer([("Authorization", "Basic !")])
    assert (answer.status, answer.body["reason"]) == (400, "unreadable_key")
    answer = await service.answer([("Authorization", "Basic !"), ("X-API-Key", "sk-1")])
    assert answer.status == 400


async def test_request_without_a_key_is_challenged(service):
    answer = await service.answer([("Cookie", "a=b")])
    assert (answer.status, answer.body["reason"]) == (401, "no_key")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_shadow_mode_passes_everything(store, metrics):
    service = service_on(store, metrics, shadow=True)
    decide(store, "sk-bad", "block")
    cases = [("block", bearer("sk-bad")), ("challenge", [("Authorization", "Basic !")])]
    for action, headers in (*cases, ("challenge", [])):
        answer = await service.answer(headers)
        assert (answer.status, answer.headers["X-XM-Decision"]) == (200, "observe")
        assert answer.headers["X-XM-Shadow"] == answer.body["shadow"] == action
        assert "X-XM-Subject" not in answer.headers


async def test_caches_may_keep_a_block_until_it_ends(service, store):
    decide(store, "sk-bad", "block")
    cached = (await service.answer(bearer("sk-bad"))).headers["Cache-Control"]
    fields = dict(each.split("=") for each in cached.split(", "))
    assert fields["max-age"] == "1"
    assert 50 < int(fields["stale-if-error"]) <= 60
    cached = (await service.answer(bearer("sk-1"))).headers["Cache-Control"]
    assert cached == "max-age=1"


async def test_unknown_answer_passes_and_is_not_cached(service, store, monkeypatch):
    def away(_):
        raise StoreUnavailableError("away")

    monkeypatch.setattr(store, "decisions", away)
    answer = await service.answer(bearer("sk-1"))
    assert (answer.status, answer.body["reason"]) == (200, "unknown")
    assert answer.headers["Cache-Control"] == "no-store"


async def test_answers_are_counted(service, store, metrics):
    decide(store, "sk-bad", "block")
    for headers in (bearer("sk-bad"), bearer("sk-1"), [], [("Authorization", "Basic !")]):
        await service.answer(headers)
    counted = {
        action: metrics.registry.get_sample_value("xm_decision_lookups_total", {"action": action})
        for action in ("block", "observe", "no_key", "unreadable_key", "unknown")
    }
    assert counted == {"block": 1, "observe": 1, "no_key": 1, "unreadable_key": 1, "unknown": 0}
