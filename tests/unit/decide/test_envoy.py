import grpc
import grpc.aio
import pytest

from monitor.config import Serve
from pipelines.decide.envoy import EnvoyServer
from pipelines.decide.envoy_messages import message
from pipelines.decide.guard import Guard
from pipelines.decide.metrics import LookupMetrics
from pipelines.demo.embedded import free_port
from pipelines.web.tokens import Tokens, new_token
from tests.support.decisions import IDENTITY, decide, decide_on, loaded_copy, service_on

CheckRequest, CheckResponse = message("CheckRequest"), message("CheckResponse")


@pytest.fixture
def copy():
    return loaded_copy()


@pytest.fixture
def tokens_file(tmp_path):
    return tmp_path / "tokens"


@pytest.fixture
async def call(copy, request, tokens_file):
    """Calls a server as Envoy does."""
    settings = Serve(grpc_port=free_port(), **getattr(request, "param", {}))
    tokens = Tokens(tokens_file if tokens_file.exists() else None)
    guard = Guard(settings, tokens, LookupMetrics())
    server = EnvoyServer(service_on(copy), guard, settings)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel:
        yield channel.unary_unary(
            "/envoy.service.auth.v3.Authorization/Check",
            request_serializer=CheckRequest.SerializeToString,
            response_deserializer=CheckResponse.FromString,
        )
    await server.stop()


def check(key="sk-1", path="/v1/chat/completions", **extensions):
    request = CheckRequest()
    http = request.attributes.request.http
    http.path = path.encode("latin-1")
    if key:
        http.headers["authorization"] = f"Bearer {key}".encode("latin-1")
    for name, value in extensions.items():
        request.attributes.context_extensions[name] = value.encode()
    return request


def headers_of(response):
    return {each.header.key: each.header.value.decode() for each in response.headers}


async def test_ordinary_key_passes_and_cannot_set_its_decision(call):
    response = await call(check())
    assert response.status.code == 0
    assert headers_of(response.ok_response) == {"x-xm-decision": "observe"}
    assert "x-xm-subject" in response.ok_response.headers_to_remove


async def test_blocked_key_is_denied_with_a_problem_document(call, copy):
    decide(copy, "sk-1", "block")
    denied = (await call(check())).denied_response
    assert denied.status.code == 403
    assert headers_of(denied)["content-type"] == "application/problem+json"
    assert not [name for name in headers_of(denied) if name.startswith("x-xm-")]
    assert '"status":403' in denied.body


async def test_key_in_the_path_is_read(call, copy):
    decide(copy, "sk-1", "block")
    response = await call(check(key=None, path="/v1/models?key=sk-1"))
    assert response.denied_response.status.code == 403


async def test_raw_headers_are_read(call, copy):
    decide(copy, "sk-1", "block")
    request = check(key=None)
    request.attributes.request.http.header_map.headers.add(key="x-api-key", raw_value=b"sk-1")
    assert (await call(request)).denied_response.status.code == 403


@pytest.mark.parametrize(
    "disguise", [{"path": "/v1/models?\xff"}, {"key": "sk-1\xa0"}, {"key": "\x85sk-1"}]
)
async def test_blocked_key_cannot_hide_behind_bytes_that_are_no_text(call, copy, disguise):
    decide(copy, "sk-1", "block")
    assert (await call(check(**disguise))).denied_response.status.code == 403


async def test_account_of_the_route_is_looked_up(call, copy):
    decide_on(copy, IDENTITY.account("acme"), "block", scope="account")
    assert (await call(check(account="acme"))).denied_response.status.code == 403
    assert (await call(check(account="other"))).status.code == 0


async def test_end_user_is_read_from_the_header_that_envoy_sets(call, copy):
    decide_on(copy, IDENTITY.end_user("sk-1", "mallory"), "block", scope="end_user")
    request = check(end_user_header="x-jwt-sub")
    request.attributes.request.http.headers["x-jwt-sub"] = b"mallory"
    assert (await call(request)).denied_response.status.code == 403


async def test_client_cannot_use_up_the_rate_of_another_account(call, copy):
    decide_on(copy, IDENTITY.account("victim"), "throttle", rate=6.0, scope="account")
    request = check()
    request.attributes.request.http.headers["x-xm-account"] = b"victim"
    assert {(await call(request)).status.code for _ in range(5)} == {0}
    assert (await call(check(account="victim"))).status.code == 0


async def test_throttled_key_is_denied_beyond_its_rate(call, copy):
    decide(copy, "sk-1", "throttle", rate=6.0)
    responses = [await call(check()) for _ in range(4)]
    statuses = [each.denied_response.status.code or 200 for each in responses]
    assert statuses == [200, 200, 429, 429]
    assert headers_of(responses[0].ok_response)["x-xm-subject"] == IDENTITY.key("sk-1")
    assert int(headers_of(responses[-1].denied_response)["retry-after"]) > 0


@pytest.mark.parametrize("call", [{"lookups": "token"}], indirect=True)
async def test_call_without_a_token_fails_instead_of_denying(call):
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call(check())
    assert failed.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture
def token(tokens_file):
    token, line = new_token("envoy", "look")
    tokens_file.write_text(line)
    return token


@pytest.mark.parametrize("call", [{"lookups": "token"}], indirect=True)
async def test_call_with_a_token_is_answered(token, call):
    assert (await call(check(), metadata=[("x-xm-token", token)])).status.code == 0


@pytest.mark.parametrize("call", [{"lookups_per_second": 1}], indirect=True)
async def test_calls_beyond_the_limit_fail_instead_of_denying(call):
    codes = []
    for _ in range(4):
        try:
            await call(check())
        except grpc.aio.AioRpcError as error:
            codes.append(error.code())
    assert codes
    assert set(codes) == {grpc.StatusCode.RESOURCE_EXHAUSTED}
