from __future__ import annotations

import asyncio
import logging
import resource
import time

import pytest
from aiohttp import web

from pipelines.demo.embedded import free_port
from pipelines.web import server
from pipelines.web.server import Connections, Server, Sparse, raise_descriptor_limit

GET = b"GET /page HTTP/1.1\r\nHost: monitor\r\n"


def pages() -> web.Application:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="a page")

    async def broken(request: web.Request) -> web.Response:
        raise ValueError(request.headers["X-API-Key"])

    app = web.Application()
    app.router.add_get("/page", page)
    app.router.add_get("/broken", broken)
    return app


@pytest.fixture
async def served(monkeypatch):
    monkeypatch.setattr(server, "_REQUEST_SECONDS", 0.5)
    monkeypatch.setattr(server, "_IDLE_SECONDS", 2.0)
    web_server = Server(pages(), "127.0.0.1", free_port())
    await web_server.start()
    yield web_server
    await web_server.stop()


async def connect(served, data=b""):
    reader, writer = await asyncio.open_connection("127.0.0.1", served._port)
    writer.write(data)
    return reader, writer


async def ask(served, data):
    """The server's answer to some bytes, until it closes the connection."""
    reader, writer = await connect(served, data)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


async def test_page_is_served(served):
    answer = await ask(served, GET + b"Connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"a page")


@pytest.mark.parametrize("sent", [b"", b"GET", GET])
async def test_half_sent_request_is_closed(served, sent):
    begun = time.monotonic()
    assert await ask(served, sent) == b""
    assert time.monotonic() - begun < 2.0


async def test_idle_connection_is_closed_later(served):
    begun = time.monotonic()
    assert b" 200 " in await ask(served, GET + b"\r\n")
    assert 1.5 < time.monotonic() - begun < 5.0


async def test_silent_connections_make_room_for_others(served):
    served._connections._most = 20
    known, writer = await connect(served, GET + b"\r\n")
    await known.readuntil(b"a page")
    silent = [await connect(served, GET) for _ in range(60)]
    assert b" 200 " in await ask(served, GET + b"Connection: close\r\n\r\n")
    writer.write(GET + b"\r\n")
    await asyncio.wait_for(known.readuntil(b"a page"), 5)
    assert len(served._connections) <= 20
    for _, each in (*silent, (known, writer)):
        each.close()


@pytest.mark.parametrize(
    "sent",
    [
        GET + b"X-API-Key: sk-LEAK\x00\r\n\r\n",
        GET + b"Authorization: Bearer sk-LEAK\x01\r\n\r\n",
        GET + b"X-API-Key sk-LEAK\r\n\r\n",
        GET + b"X-API-Key\x00: sk-LEAK\r\n\r\n",
        GET + b"X-API-Key: " + b"sk-LEAK" * 2_000 + b"\r\n\r\n",
        GET + b"Transfer-Encoding: sk-LEAK\r\n\r\n",
        GET + b"Content-Length: sk-LEAK\r\n\r\n",
        GET + b"Transfer-Encoding: chunked\r\n\r\nsk-LEAK\r\n",
        GET + b" folded sk-LEAK\r\n\r\n",
        b"sk-LEAK\r\n\r\n",
        b"GET /page?key=sk-LEAK\x00 HTTP/1.1\r\n\r\n",
        b"GET /page?key=sk-LEAK HTTP/9.9.9\r\n\r\n",
        b"GET http://[sk-LEAK/ HTTP/1.1\r\nHost: monitor\r\n\r\n",
        b"GET //sk-LEAK:sk-LEAK@:x/ HTTP/1.1\r\nHost: monitor\r\n\r\n",
        b"sk-LEAK /page HTTP/1.1\r\n\r\n",
        b"GET /broken HTTP/1.1\r\nHost: monitor\r\nX-API-Key: sk-LEAK\r\n\r\n",
        b"GET /" + b"sk-LEAK" * 2_000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01sk-LEAK",
        GET + b"Host: sk-LEAK\xff\xfe\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nsk-LEAK\x00",
    ],
    ids=lambda sent: repr(sent[:60]),
)
async def test_malformed_request_leaves_no_key_in_log_or_answer(served, sent, caplog):
    with caplog.at_level(logging.DEBUG):
        answer = await ask(served, sent)
    assert b"LEAK" not in answer
    assert "LEAK" not in caplog.text


async def test_malformed_request_is_answered_400(served):
    answer = await ask(served, GET + b"X-API-Key: sk\x00\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 400 ")
    assert b"malformed_request" in answer


def test_connections_expire_in_order_of_use():
    class Closed:
        closed = False

        def force_close(self):
            self.closed = True

    connections, now = Connections(10), time.monotonic()
    new, known = Closed(), Closed()
    connections.opened(new)
    connections.opened(known)
    connections.used(known)
    connections.expire(now + server._REQUEST_SECONDS + 1)
    assert (new.closed, known.closed) == (True, False)
    connections.expire(now + server._IDLE_SECONDS + 1)
    assert known.closed
    assert len(connections) == 0


def test_descriptor_limit_is_raised_to_the_hard_limit(monkeypatch, caplog):
    limits = [(256, 1_000)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: limits.append(both))
    raise_descriptor_limit()
    assert limits[-1] == (1_000, 1_000)
    assert "few_descriptors limit=1000" in caplog.text


def test_repeated_log_lines_pass_once_a_minute():
    sparse = Sparse()
    lines = [
        logging.makeLogRecord({"msg": "accept failed\nsocket: %s", "args": (n,)}) for n in "12"
    ]
    other = logging.makeLogRecord({"msg": "another"})
    assert [sparse.filter(line) for line in (*lines, other)] == [True, False, True]
