"""The decision service as a process, with Redis."""

from __future__ import annotations

import json
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import redis

from monitor.alerting.alerts import Action
from monitor.alerting.decisions import Decision
from monitor.identity import Identity
from monitor.store.base import Checkpoint
from monitor.store.control import ControlStore
from monitor.store.redis import RedisStore
from pipelines.web.tokens import new_token
from tests.support.programs import DecisionService
from tests.support.redis_servers import Authority
from tests.support.servers import Redis
from tests.support.workers import until

SECRET = "known to this test only"
IDENTITY = Identity(SECRET.encode())
WHY = "ticket 4711"


class Tokens:
    """A file with tokens."""

    def __init__(self, file: Path) -> None:
        self.file, self._lines = file, dict[str, str]()
        self.change, self.look = self.add("alice", "change"), self.add("gateway", "look")

    def add(self, name: str, right: Any) -> str:
        token, self._lines[name] = new_token(name, right)
        self._write()
        return token

    def remove(self, name: str) -> None:
        del self._lines[name]
        self._write()

    def _write(self) -> None:
        self.file.write_text("# tokens of the test\n" + "\n".join(self._lines.values()))


def service_at(folder: Path, redis_url: str, tokens: Tokens, **chosen: str) -> DecisionService:
    environment = {
        "XM_REDIS_URL": redis_url,
        "XM_IDENTITY_SECRET": SECRET,
        "XM_DECISIONS__SHADOW": "false",
        "XM_SERVE__TOKENS_FILE": str(tokens.file),
        "XM_SERVE__CHANGES_PER_MINUTE": "600",
    }
    return DecisionService(folder, SimpleNamespace(environment=environment), **chosen)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return Tokens(tmp_path_factory.mktemp("tokens") / "tokens")


@pytest.fixture(scope="module")
def services(
    own_redis: Redis, tokens: Tokens, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[DecisionService]]:
    """Two services on the same Redis."""
    folders = [tmp_path_factory.mktemp("service") for _ in range(2)]
    one, two = (service_at(folder, own_redis.url, tokens) for folder in folders)
    with one, two:
        yield [one, two]


@pytest.fixture
def service(services: list[DecisionService]) -> DecisionService:
    return services[0]


@pytest.fixture
def client(service: DecisionService, tokens: Tokens) -> Iterator[httpx.Client]:
    """Asks the service with a token that permits changes."""
    headers = {"Authorization": f"Bearer {tokens.change}"}
    with httpx.Client(base_url=service.url, headers=headers, timeout=20) as client:
        yield client


@pytest.fixture
def decide(own_redis: Redis) -> Callable[[str, Action], None]:
    """Puts a detector's decision on a key into force."""
    store = RedisStore(own_redis.url, 100)

    def decide(key: str, action: Action) -> None:
        decision = Decision(IDENTITY.key(key), action, "a_1", time.time(), 60.0, kind="burst")
        store.commit(Checkpoint(decisions=[decision]))

    return decide


def status_of(service: DecisionService, key: str) -> int:
    return httpx.get(f"{service.url}/v1/decision", headers={"X-API-Key": key}).status_code


def until_status(service: DecisionService, key: str, status: int) -> None:
    until(lambda: status_of(service, key) == status, what=f"{status} for {key}")


def events(response: httpx.Response) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The id, type and data of events."""
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        if line:
            name, _, fields[name] = line.partition(": ")
        elif fields.get("event"):
            yield fields["id"], fields["event"], json.loads(fields["data"])
            fields = {}


def test_decision_of_a_detector_applies_to_look_ups_at_all_services(
    services: list[DecisionService], decide: Callable[[str, Action], None]
) -> None:
    decide("sk-bad", "block")
    for service in services:
        until_status(service, "sk-bad", 403)
        assert status_of(service, "sk-good") == 200


def test_decision_over_http_applies_and_is_in_the_audit(
    client: httpx.Client, services: list[DecisionService], own_redis: Redis
) -> None:
    page = f"/v1/decisions/{IDENTITY.key('sk-1')}"
    body = {"action": "block", "seconds": 60, "reason": WHY}
    changed = client.put(page, json=body)
    assert changed.status_code == 200
    for service in services:
        until_status(service, "sk-1", 403)
    assert client.delete(page, params={"reason": "mistake"}).status_code == 200
    for service in services:
        until_status(service, "sk-1", 200)
    audit = list(ControlStore(own_redis.url).audit())[-2:]
    assert [(each.what, each.who, each.why) for each in audit] == [
        ("decide", "token:alice", WHY),
        ("delete", "token:alice", "mistake"),
    ]
    assert audit[0].id == changed.json()["id"]


@pytest.mark.parametrize("name", ["kill", "shadow"])
def test_switch_over_http_stops_enforcement_at_once(
    client: httpx.Client,
    services: list[DecisionService],
    decide: Callable[[str, Action], None],
    name: str,
) -> None:
    decide("sk-bad", "block")
    for service in services:
        until_status(service, "sk-bad", 403)
    assert client.put(f"/v1/{name}", json={"on": True, "reason": WHY}).status_code == 200
    for service in services:
        until_status(service, "sk-bad", 200)
    assert client.get("/v1/control").json()["switches"][name]["who"] == "token:alice"
    assert client.delete(f"/v1/{name}", params={"reason": "over"}).status_code == 200
    for service in services:
        until_status(service, "sk-bad", 403)


def test_allowed_key_passes_until_it_is_removed_from_the_list(
    client: httpx.Client, service: DecisionService, decide: Callable[[str, Action], None]
) -> None:
    decide("sk-partner", "block")
    until_status(service, "sk-partner", 403)
    page = f"/v1/allow/{IDENTITY.key('sk-partner')}"
    body = {"owner": "sales", "seconds": 3600, "reason": WHY}
    assert client.put(page, json=body).status_code == 200
    until_status(service, "sk-partner", 200)
    assert client.delete(page, params={"reason": "contract over"}).status_code == 200
    until_status(service, "sk-partner", 403)
    assert client.delete(page, params={"reason": "again"}).status_code == 409


CHANGES = [
    ("PUT", f"/v1/decisions/k_{'0' * 24}", {"action": "block", "seconds": 60, "reason": WHY}),
    ("DELETE", f"/v1/decisions/k_{'0' * 24}?reason=x", None),
    ("PUT", f"/v1/allow/k_{'0' * 24}", {"owner": "me", "seconds": 60, "reason": WHY}),
    ("DELETE", f"/v1/allow/k_{'0' * 24}?reason=x", None),
    ("PUT", "/v1/kill", {"on": True, "reason": WHY}),
    ("DELETE", "/v1/kill?reason=x", None),
    ("PUT", "/v1/shadow?kind=burst", {"on": True, "reason": WHY}),
    ("DELETE", "/v1/shadow?reason=x", None),
]


@pytest.mark.parametrize(("method", "page", "body"), CHANGES)
def test_nobody_changes_anything_without_the_right_token(
    service: DecisionService,
    tokens: Tokens,
    own_redis: Redis,
    method: str,
    page: str,
    body: object,
) -> None:
    with redis.Redis(port=own_redis.port) as store:
        before = store.xlen("xm:audit")
        for token, status in ((None, 401), ("xm_wrong", 401), (tokens.look, 403)):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            answer = httpx.request(method, service.url + page, headers=headers, json=body)
            assert answer.status_code == status
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert ("WWW-Authenticate" in answer.headers) == (status == 401)
        assert store.xlen("xm:audit") == before


@pytest.mark.parametrize(
    ("page", "body", "says"),
    [
        ("/v1/decisions/sk-live-1", {"action": "block", "seconds": 60, "reason": WHY}, "pseudonym"),
        (f"/v1/decisions/k_{'0' * 24}", {"action": "blok", "seconds": 60, "reason": WHY}, "blok"),
        (f"/v1/decisions/k_{'0' * 24}", {"action": "block", "seconds": 60}, "reason"),
        (f"/v1/decisions/k_{'0' * 24}", {"action": "block", "seconds": 0, "reason": WHY}, ">= 1"),
        ("/v1/kill", {"on": True, "reason": "a\u001b[31mb"}, "printable"),
        ("/v1/kill", {"on": "yes", "reason": WHY}, "bool"),
        ("/v1/shadow?kind=brust", {"on": True, "reason": WHY}, "kind"),
        ("/v1/shadow?kind=", {"on": True, "reason": WHY}, "kind"),
        ("/v1/kill?kind=burst", {"on": True, "reason": WHY}, "kind"),
    ],
)
def test_unusable_change_gets_a_sentence_that_says_why(
    client: httpx.Client, page: str, body: object, says: str
) -> None:
    answer = client.put(page, json=body)
    assert answer.status_code == 400
    assert says in answer.json()["detail"]
    assert "sk-live" not in answer.text


def test_batch_names_the_pseudonyms_that_the_feed_uses(
    client: httpx.Client, service: DecisionService, decide: Callable[[str, Action], None]
) -> None:
    decide("sk-bad", "block")
    until_status(service, "sk-bad", 403)
    items = [{"key": "sk-bad"}, {"key": "sk-good", "end_user": "u1"}, {"account": "acme"}]
    found = client.post("/v1/decisions", json={"items": items}).json()["items"]
    assert [each["decision"] for each in found] == ["block", "observe", "observe"]
    assert IDENTITY.key("sk-bad") in found[0]["subjects"]
    assert IDENTITY.end_user("sk-good", "u1") in found[1]["subjects"]
    assert found[2]["subjects"] == [IDENTITY.account("acme")]
    with client.stream("GET", "/v1/decisions/feed") as stream:
        for _, event, data in events(stream):
            if data.get("subject") in found[0]["subjects"]:
                break
            assert event != "ready"
    assert data["decision"] == "block"


def test_feed_goes_on_at_another_service(
    services: list[DecisionService], decide: Callable[[str, Action], None]
) -> None:
    one, two = services
    with httpx.stream("GET", f"{one.url}/v1/decisions/feed", timeout=20) as stream:
        last = next(id for id, event, _ in events(stream) if event == "ready")
    decide("sk-missed", "challenge")
    until_status(two, "sk-missed", 401)
    headers = {"Last-Event-ID": last}
    with httpx.stream("GET", f"{two.url}/v1/decisions/feed", headers=headers) as stream:
        missed = []
        for _, event, data in events(stream):
            missed.append((event, data.get("subject")))
            if event == "ready":
                break
    assert ("decision", IDENTITY.key("sk-missed")) in missed
    assert ("reset", None) not in missed


def test_service_answers_from_memory_while_redis_hangs(
    client: httpx.Client,
    service: DecisionService,
    own_redis: Redis,
    decide: Callable[[str, Action], None],
) -> None:
    decide("sk-bad", "block")
    until_status(service, "sk-bad", 403)
    own_redis.pause()
    try:
        assert [status_of(service, key) for key in ("sk-bad", "sk-good")] == [403, 200]
        answer = client.put("/v1/kill", json={"on": True, "reason": WHY})
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert httpx.get(f"{service.url}/readyz").status_code == 200
    finally:
        own_redis.resume()
    decide("sk-later", "block")
    until_status(service, "sk-later", 403)
    client.delete("/v1/kill", params={"reason": "in case Redis has applied it"})
    until_status(service, "sk-bad", 403)


def test_service_forgets_what_redis_has_lost(
    service: DecisionService, own_redis: Redis, decide: Callable[[str, Action], None]
) -> None:
    decide("sk-lost", "block")
    until_status(service, "sk-lost", 403)
    with redis.Redis(port=own_redis.port) as store:
        store.flushall()
    until_status(service, "sk-lost", 200)
    decide("sk-new", "block")
    until_status(service, "sk-new", 403)


@pytest.mark.parametrize(("fail", "status"), [("open", 200), ("closed", 503)])
def test_service_that_starts_without_redis_answers_as_configured(
    tokens: Tokens, tmp_path: Path, fail: str, status: int
) -> None:
    (tmp_path / "redis").mkdir()
    server = Redis(tmp_path / "redis")
    chosen = {"XM_GATEWAY__FAIL": fail}
    service = service_at(tmp_path / "service", server.url, tokens, **chosen)
    service.page = "/healthz"
    with service:
        answer = httpx.get(f"{service.url}/v1/decision", headers={"X-API-Key": "sk-1"})
        assert (answer.status_code, answer.json()["reason"]) == (status, "unknown")
        assert httpx.get(f"{service.url}/readyz").status_code == 503
        until(lambda: "decisions_stale" in service.log.read_text())
        with server:
            until(lambda: httpx.get(f"{service.url}/readyz").status_code == 200)
            assert status_of(service, "sk-1") == 200


def test_removed_token_is_refused_without_a_restart(
    service: DecisionService, tokens: Tokens
) -> None:
    headers = {"Authorization": f"Bearer {tokens.add('bob', 'change')}"}

    def status() -> int:
        page = f"{service.url}/v1/allow/k_{'1' * 24}?reason=x"
        return httpx.delete(page, headers=headers).status_code

    until(lambda: status() == 409)
    tokens.remove("bob")
    until(lambda: status() == 401)


def test_no_client_connects_without_a_certificate_of_the_ca(
    own_redis: Redis, tokens: Tokens, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.sign("localhost")
    mine, my_key = authority.sign("gateway")
    service = service_at(
        tmp_path / "service",
        own_redis.url,
        tokens,
        XM_SERVE__TLS_CERT_FILE=str(certificate),
        XM_SERVE__TLS_KEY_FILE=str(key),
        XM_SERVE__TLS_CLIENT_CA_FILE=str(authority.certificate),
    )
    context = ssl.create_default_context(cafile=str(authority.certificate))
    url = f"https://localhost:{service.port}/v1/decision?key=sk-1"

    def status(context: ssl.SSLContext) -> int | None:
        try:
            with httpx.Client(verify=context) as client:
                return client.get(url).status_code
        except httpx.TransportError:
            return None

    service.ready = lambda: "serving" in service.log.read_text()  # type: ignore[method-assign]
    with service:
        assert status(context) is None
        context.load_cert_chain(mine, my_key)
        assert status(context) == 200
        assert status(ssl.create_default_context()) is None
        renewed = Authority(tmp_path / "renewed")
        context.load_verify_locations(renewed.certificate)
        for old, new in zip((certificate, key), renewed.sign("localhost"), strict=True):
            new.replace(old)
        until(lambda: status(context) == 200 and "certificate_read" in service.log.read_text())
        old_ca = ssl.create_default_context(cafile=str(authority.certificate))
        old_ca.load_cert_chain(mine, my_key)
        assert status(old_ca) is None


def test_no_key_or_token_is_in_log_or_redis(
    services: list[DecisionService], own_redis: Redis, tokens: Tokens
) -> None:
    secret = "sk-live-secret-4711"
    for service in services:
        for page in (f"/v1/decision?key={secret}", f"/v1/decisions/{secret}", f"/v1/{secret}"):
            httpx.put(service.url + page, headers={"X-API-Key": secret, "X-XM-Token": secret})
        httpx.post(f"{service.url}/v1/decisions", content=f'{{"items": [{{"keys": "{secret}"}}]}}')
    texts = [service.log.read_text() for service in services]
    with redis.Redis(port=own_redis.port) as store:
        for name in store.scan_iter():
            texts += [str(name), str(store.dump(name))]
    for hidden in (secret, tokens.change, tokens.look, SECRET):
        assert not [text for text in texts if hidden in text]


def test_wrong_setting_ends_the_command_with_a_sentence(
    own_redis: Redis, tokens: Tokens, tmp_path: Path
) -> None:
    broken = tmp_path / "tokens"
    broken.write_text("alice change notahash\n")
    wrong = {
        "XM_SERVE__TOKENS_FILE": (str(broken), "Line 1 of"),
        "XM_SERVE__TLS_KEY_FILE": (str(broken), "XM_SERVE__TLS_CERT_FILE is not set"),
        "XM_SERVE__TLS_CERT_FILE": (str(broken), "are not a certificate"),
        "XM_SERVE__HOST": ("192.0.2.1", "Cannot listen on"),
    }
    for name, (value, says) in wrong.items():
        service = service_at(tmp_path / name, own_redis.url, tokens, **{name: value})
        done = subprocess.run(service.command(), capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert says in done.stderr
