import hashlib
import time

import pytest

from pipelines.decide.copy import DecisionCopy
from pipelines.decide.metrics import LookupMetrics
from tests.support.decisions import IDENTITY, decide, decide_on, loaded_copy, service_on


@pytest.fixture
def copy():
    return loaded_copy()


@pytest.fixture
def metrics():
    return LookupMetrics()


@pytest.fixture
def service(copy, metrics):
    return service_on(copy, metrics)


def bearer(key):
    return [("Authorization", f"Bearer {key}")]


@pytest.mark.parametrize(
    ("action", "status"), [("mark", 200), ("throttle", 200), ("challenge", 401), ("block", 403)]
)
def test_answer_has_status_headers_and_body(service, copy, action, status):
    decide(copy, "sk-1", action)
    answer = service.answer(bearer("sk-1"))
    assert answer.status == status
    assert answer.headers["X-XM-Decision"] == action
    assert answer.headers["X-XM-Subject"] == IDENTITY.key("sk-1")
    assert answer.headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)
    assert answer.body.pop("until") == pytest.approx(time.time() + 60, abs=5)
    expected = {"decision": action, "reason": "a_1", "scope": "api_key"}
    assert {name: answer.body[name] for name in expected} == expected
    problem = {"type", "title", "status", "detail"}
    assert answer.body.keys() - expected == (problem if status >= 400 else set())


def test_key_without_a_decision_passes(service):
    answer = service.answer(bearer("sk-1"))
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
def test_blocked_key_cannot_hide_beside_another(service, copy, headers):
    decide(copy, "sk-bad", "block")
    assert (service.answer(headers)).status == 403


def test_decisions_on_account_and_end_user_apply(service, copy):
    subjects = {
        ("X-XM-Account", "acme"): IDENTITY.account("acme"),
        ("X-XM-End-User", "mallory"): IDENTITY.end_user("sk-1", "mallory"),
    }
    for header, subject in subjects.items():
        scope = header[0][5:].lower().replace("-", "_")
        decide_on(copy, subject, "block", scope=scope)
        answer = service.answer([*bearer("sk-1"), header])
        assert (answer.status, answer.body["scope"]) == (403, scope)
        other = (header[0], "another")
        assert (service.answer([*bearer("sk-1"), other])).status == 200
    mallory = ("X-XM-End-User", "mallory")
    assert (service.answer([*bearer("sk-2"), mallory])).status == 200


def test_raw_key_meets_the_hash_in_the_log(service, copy):
    decide(copy, hashlib.sha256(b"sk-bad").hexdigest(), "block")
    assert (service.answer(bearer("sk-bad"))).status == 403


def test_unreadable_key_does_not_pass(service):
    answer = service.answer([("Authorization", "Basic !")])
    assert (answer.status, answer.body["reason"]) == (400, "unreadable_key")
    answer = service.answer([("Authorization", "Basic !"), ("X-API-Key", "sk-1")])
    assert answer.status == 400


def test_request_without_a_key_is_challenged(service):
    answer = service.answer([("Cookie", "a=b")])
    assert (answer.status, answer.body["reason"]) == (401, "no_key")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_shadow_mode_passes_everything(metrics):
    copy = loaded_copy(shadow=True)
    service = service_on(copy, metrics)
    decide(copy, "sk-bad", "block")
    cases = [("block", bearer("sk-bad")), ("challenge", [("Authorization", "Basic !")])]
    for action, headers in (*cases, ("challenge", [])):
        answer = service.answer(headers)
        assert (answer.status, answer.headers["X-XM-Decision"]) == (200, "observe")
        assert answer.headers["X-XM-Shadow"] == answer.body["shadow"] == action
        assert "X-XM-Subject" not in answer.headers


def test_caches_may_keep_a_block_until_it_ends(service, copy):
    decide(copy, "sk-bad", "block")
    cached = (service.answer(bearer("sk-bad"))).headers["Cache-Control"]
    fields = dict(each.split("=") for each in cached.split(", "))
    assert fields["max-age"] == "1"
    assert 50 < int(fields["stale-if-error"]) <= 60
    cached = (service.answer(bearer("sk-1"))).headers["Cache-Control"]
    assert cached == "max-age=1"


def test_unknown_key_passes_while_redis_is_away(metrics):
    service = service_on(DecisionCopy(shadow=False), metrics)
    answer = service.answer(bearer("sk-1"))
    assert (answer.status, answer.body["reason"]) == (200, "unknown")
    assert answer.headers["Cache-Control"] == "no-store"


def test_unknown_key_is_refused_if_the_gateway_fails_closed(copy, metrics, monkeypatch):
    service = service_on(copy, metrics, fail="closed")
    decide(copy, "sk-throttled", "throttle")
    assert service.answer(bearer("sk-1")).status == 200
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 11.0)
    answer = service.answer(bearer("sk-1"))
    assert (answer.status, answer.body["reason"]) == (503, "unknown")
    assert answer.headers["Retry-After"]
    assert service.answer(bearer("sk-throttled")).status == 200


def test_failing_closed_refuses_nobody_in_shadow_mode(metrics):
    service = service_on(DecisionCopy(shadow=True), metrics, fail="closed")
    answer = service.answer(bearer("sk-1"))
    assert (answer.status, answer.headers["X-XM-Shadow"]) == (200, "block")


def test_throttled_key_gets_its_rate(service, copy):
    decide(copy, "sk-1", "throttle", rate=12.0)
    answer = service.answer(bearer("sk-1"))
    assert (answer.status, answer.body["rate"]) == (200, 12.0)
    assert answer.headers["X-XM-Rate"] == "12"
    assert answer.headers["RateLimit-Policy"] == '"xm";q=12;w=60'
    assert answer.headers["Retry-After"] == "5"


def test_admit_refuses_a_throttled_key_beyond_its_rate(service, copy):
    decide(copy, "sk-1", "throttle", rate=6.0)
    answers = [service.answer(bearer("sk-1"), admit=True) for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 2 + [429] * 4
    refused = answers[-1]
    assert 0 < int(refused.headers["Retry-After"]) <= 10
    assert refused.headers["RateLimit"].startswith('"xm";r=0;t=')
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert service.answer(bearer("sk-2"), admit=True).status == 200
    assert service.answer(bearer("sk-1")).status == 200


def test_second_spelling_of_a_key_shares_its_rate(service, copy):
    decide(copy, "sk-1", "throttle", rate=6.0)
    spellings = [bearer("sk-1"), [("api-key", "sk-1")], [("X-API-Key", "Bearer sk-1")]]
    statuses = [service.answer(each, admit=True).status for each in spellings * 2]
    assert statuses == [200] * 2 + [429] * 4


def test_marked_key_passes_with_its_mark(service, copy):
    decide(copy, "sk-1", "mark", mark="m_1")
    answer = service.answer(bearer("sk-1"))
    assert (answer.status, answer.headers["X-XM-Mark"]) == (200, "m_1")


def test_ladder_leads_down_by_itself(service, copy, monkeypatch):
    now = time.time()
    decide(copy, "sk-1", "block", steps=(("throttle", 30.0),), expires_at=now + 90.0)
    answers = []
    for later in (0, 61, 91):
        monkeypatch.setattr(time, "time", lambda later=later: now + later)
        answers.append(service.answer(bearer("sk-1")))
    assert [each.body["decision"] for each in answers] == ["block", "throttle", "observe"]
    assert "stale-if-error=60" in answers[0].headers["Cache-Control"]


def test_answers_are_counted(service, copy, metrics):
    decide(copy, "sk-bad", "block")
    for headers in (bearer("sk-bad"), bearer("sk-1"), [], [("Authorization", "Basic !")]):
        service.answer(headers)
    counted = {
        action: metrics.registry.get_sample_value("xm_decision_lookups_total", {"action": action})
        for action in ("block", "observe", "no_key", "unreadable_key", "unknown")
    }
    assert counted == {"block": 1, "observe": 1, "no_key": 1, "unreadable_key": 1, "unknown": 0}
