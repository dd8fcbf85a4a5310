from __future__ import annotations

import asyncio
import json
from functools import partial

import pytest
from aiohttp import web

from monitor.config import Serve
from pipelines.decide.fast import FastConnection
from pipelines.decide.guard import Guard
from pipelines.decide.metrics import LookupMetrics
from pipelines.decide.pages.lookups import LookupPages, problems
from pipelines.demo.embedded import free_port
from pipelines.web.server import Server
from pipelines.web.tokens import Tokens, new_token
from tests.support.decisions import decide, loaded_copy, service_on

BLOCKED = b"Host: monitor\r\nX-API-Key: sk-bad\r\n"


@pytest.fixture
async def port(request, tmp_path):
    async def page(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.method} {len(await request.read())}")

    copy = loaded_copy()
    decide(copy, "sk-bad", "block")
    decide(copy, "sk-slow", "throttle", rate=6.0)
    file = tmp_path / "tokens"
    file.write_text(f"{new_token('gateway', 'look')[1]}\n")
    service = service_on(copy)
    guard = Guard(Serve(**getattr(request, "param", {})), Tokens(file), LookupMetrics())
    app = web.Application(middlewares=[problems])
    app.router.add_route("*", "/page", page)
    LookupPages(service, guard).add_to(app)
    connection = partial(FastConnection, service=service, guard=guard)
    port = free_port()
    server = Server(app, "127.0.0.1", port, connection=connection)
    await server.start()
    yield port
    await server.stop()


async def ask(port, *parts, count=1):
    """Send bytes in parts and read that many answers: their status lines and bodies."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)
        return [await asyncio.wait_for(read(reader), 10) for _ in range(count)]
    finally:
        writer.close()


async def read(reader, *, body=True):
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    status, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    content = await reader.readexactly(int(headers["content-length"])) if body else b""
    return int(status.split()[1]), headers, content


GET, POST = b"GET /v1/decision HTTP/1.1\r\n", b"POST /v1/decision HTTP/1.1\r\n"
LOOKUPS = {
    "whole": [GET + BLOCKED + b"\r\n"],
    "in two parts": [GET + b"Host: mon", b"itor\r\nX-API-Key: sk-bad\r\n\r\n"],
    "method in two parts": [b"GE", b"T /v1/decision HTTP/1.1\r\n" + BLOCKED + b"\r\n"],
    "other method": [b"DELETE /v1/decision HTTP/1.1\r\n" + BLOCKED + b"\r\n"],
    "path of the client": [b"GET /v1/decision/v1/chat HTTP/1.1\r\n" + BLOCKED + b"\r\n"],
    "key in the URL": [b"GET /v1/decision?key=sk%2Dbad HTTP/1.1\r\nHost: monitor\r\n\r\n"],
    "encoded path": [b"GET /v1/decisio%6E HTTP/1.1\r\n" + BLOCKED + b"\r\n"],
    "body": [POST + BLOCKED + b"Content-Length: 2\r\n\r\nhi"],
    "body later": [POST + BLOCKED + b"Content-Length: 2\r\n\r\n", b"hi"],
    "chunked": [POST + BLOCKED + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"],
    "long headers": [GET + BLOCKED + b"X-A: " + b"a" * 6000, b"\r\n\r\n"],
}


@pytest.mark.parametrize("parts", LOOKUPS.values(), ids=LOOKUPS)
async def test_lookup_is_answered_however_it_arrives(port, parts):
    ((status, headers, content),) = await ask(port, *parts)
    assert status == 403
    assert headers["x-xm-decision"] == json.loads(content)["decision"] == "block"
    assert headers["content-type"] == "application/problem+json"
    assert headers["date"]


async def test_connection_serves_lookups_then_other_pages_then_lookups(port):
    lookup = LOOKUPS["whole"][0]
    page = b"POST /page HTTP/1.1\r\nHost: monitor\r\nContent-Length: 5\r\n\r\nhello"
    answers = await ask(port, lookup, lookup, page, lookup, page, count=5)
    assert [status for status, *_ in answers] == [403, 403, 200, 403, 200]
    assert answers[2][2] == b"POST 5"


async def test_pipelined_requests_are_answered_in_order(port):
    page = b"GET /page HTTP/1.1\r\nHost: monitor\r\n\r\n"
    ordinary = b"GET /v1/decision HTTP/1.1\r\nHost: monitor\r\nX-API-Key: sk-1\r\n\r\n"
    lookup = LOOKUPS["whole"][0]
    answers = await ask(port, lookup + page + ordinary + lookup, count=4)
    assert [status for status, *_ in answers] == [403, 200, 200, 403]


async def test_body_is_not_taken_for_a_request(port):
    hidden = b"GET /v1/decision HTTP/1.1\r\nX-API-Key: sk-1\r\n\r\n"
    request = b"POST /page HTTP/1.1\r\nHost: monitor\r\nContent-Length: %d\r\n\r\n" % len(hidden)
    (answer,) = await ask(port, request, hidden)
    assert answer[2] == b"POST %d" % len(hidden)


async def test_head_gets_no_body(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"HEAD /v1/decision HTTP/1.1\r\n" + BLOCKED + b"Connection: close\r\n\r\n")
    status, *_ = await read(reader, body=False)
    assert (status, await reader.read()) == (403, b"")
    writer.close()


@pytest.mark.parametrize("version", [b"HTTP/1.0\r\n", b"HTTP/1.1\r\nConnection: close\r\n"])
async def test_connection_is_closed_when_the_client_asks(port, version):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /v1/decision " + version + BLOCKED + b"\r\n")
    _, headers, _ = await read(reader)
    assert headers["connection"] == "close"
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


@pytest.mark.parametrize(
    "broken",
    [
        b"GET /v1/decision HTTP/1.1\r\nX-API-Key sk-secret\r\n\r\n",
        b"GET /v1/decision HTTP/9.9\r\nX-API-Key: sk-secret\r\n\r\n",
        b"GET /v1/decision HTTP/1.1\r\nX-A: b\0\r\nX-API-Key: sk-secret\r\n\r\n",
    ],
)
async def test_malformed_lookup_is_refused_and_not_logged(port, broken, caplog):
    ((status, _, content),) = await ask(port, broken)
    assert status == 400
    assert b"secret" not in content
    assert "secret" not in caplog.text


async def test_endless_headers_are_refused(port):
    request = b"GET /v1/decision HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(20_000))
    ((status, *_),) = await ask(port, request)
    assert status == 400


async def test_admit_counts_requests(port):
    request = b"GET /v1/admit/v1/chat HTTP/1.1\r\nHost: monitor\r\nX-API-Key: sk-slow\r\n\r\n"
    answers = await ask(port, *[request] * 4, count=4)
    assert [status for status, *_ in answers] == [200, 200, 429, 429]


@pytest.mark.parametrize("port", [{"lookups": "token"}], indirect=True)
@pytest.mark.parametrize("token", [b"", b"X-XM-Token: xm_wrong\r\n"])
async def test_lookup_without_a_valid_token_looks_like_a_failed_service(port, token):
    request = b"GET /v1/decision HTTP/1.1\r\n" + BLOCKED + token
    assert (await ask(port, request + b"\r\n"))[0][0] == 511
    assert (await ask(port, request + b"Content-Length: 1\r\n\r\n!"))[0][0] == 511


@pytest.mark.parametrize("port", [{"lookups_per_second": 3}], indirect=True)
async def test_lookups_of_one_address_are_limited(port):
    answers = await ask(port, *[LOOKUPS["whole"][0]] * 9, count=9)
    statuses = [status for status, *_ in answers]
    assert statuses[:6] == [403] * 6
    assert 503 in statuses[6:]
    limited = next(headers for status, headers, _ in answers if status == 503)
    assert int(limited["retry-after"]) >= 1
