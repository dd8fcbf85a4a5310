from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from monitor.alerting.alerts import Action
from monitor.config import Settings
from pipelines.gateways.asgi import Caller, ExtractionMonitor
from pipelines.gateways.client.metrics import ClientMetrics
from pipelines.gateways.client.native import hashed_key
from pipelines.kafka.outlet import Message
from tests.support.apps import until
from tests.support.monitor import FakeMonitor, running_monitor

BODY = {
    "model": "atlas-small",
    "messages": [{"role": "user", "content": "Which glaciers feed the Indus?"}],
    "max_tokens": 64,
}
ANSWER = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 17}}


class Api:
    """An application that answers as `parts`, and remembers what it got."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []
        self.bodies: list[bytes] = []
        self.kind = b"application/json"
        self.parts = [json.dumps(ANSWER).encode()]
        self.fails = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            return
        self.bodies.append((await receive())["body"])
        if self.fails:
            raise RuntimeError("no model is loaded")
        headers = [(b"content-type", self.kind)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in self.parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class Gateway:
    """The middleware before an application, and the events that it would send."""

    def __init__(self, monitor: FakeMonitor, **chosen: Any) -> None:
        settings = Settings(gateway={"url": monitor.url, "timeout_seconds": 5.0})
        self.api = Api()
        self.metrics = ClientMetrics(CollectorRegistry())
        self.app = ExtractionMonitor(self.api, settings, metrics=self.metrics, **chosen)
        self.messages: list[Message] = []
        self.app._events.put = self._put  # type: ignore[method-assign]

    def _put(self, encode: Callable[[], Message], size: int) -> None:
        self.messages.append(encode())

    @property
    def events(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(each.value) for each in self.messages]

    async def ask(
        self,
        *lines: tuple[str, str],
        body: bytes | None = None,
        path: str = "/v1/chat/completions",
        query: str = "",
        kind: str = "http",
        method: str = "POST",
    ) -> list[dict[str, Any]]:
        """Send a request; all messages of the response."""
        content = json.dumps(BODY).encode() if body is None else body
        scope = {
            "type": kind,
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "client": ("192.0.2.7", 1234),
            "headers": [(name.lower().encode(), value.encode()) for name, value in lines],
        }
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            connect = {"type": "websocket.connect"}
            return connect if kind == "websocket" else {"type": "http.request", "body": content}

        async def send(part: Any) -> None:
            sent.append(part)

        await self.app(scope, receive, send)
        return sent


@asynccontextmanager
async def gateway(**chosen: Any) -> AsyncIterator[tuple[Gateway, FakeMonitor]]:
    async with running_monitor() as monitor:
        found = Gateway(monitor, **chosen)
        found.app._client.start()
        await until(lambda: found.app._client.live)
        try:
            yield found, monitor
        finally:
            await found.app.close()


def key(name: str = "sk-1") -> tuple[str, str]:
    return "Authorization", f"Bearer {name}"


async def test_asgi_passes_and_sends_the_event() -> None:
    async with gateway() as (asked, _):
        sent = await asked.ask(key(), ("User-Agent", "curl/8"))
        assert sent[0]["status"] == 200
        assert asked.api.bodies == [json.dumps(BODY).encode()]
        [event] = asked.events
        expected = {
            "api_key": hashed_key("sk-1"),
            "ip": "192.0.2.7",
            "user_agent": "curl/8",
            "model": "atlas-small",
            "messages": BODY["messages"],
            "max_tokens": 64,
            "status": 200,
            "input_tokens": 9,
            "output_tokens": 17,
        }
        assert {name: event[name] for name in expected} == expected
        assert asked.messages[0].key == hashed_key("sk-1").encode()
        assert b"sk-1" not in asked.messages[0].value


@pytest.mark.parametrize(("action", "status"), [("challenge", 401), ("block", 403)])
async def test_asgi_refuses_with_a_problem_document(action: Action, status: int) -> None:
    async with gateway() as (asked, monitor):
        monitor.set("k_sk-1", action, reason="a_1")
        await asked.ask(key("sk-0"))
        await until(lambda: len(asked.app._client._copy) == 1)
        start, body = await asked.ask(key())
        headers = dict(start["headers"])
        assert start["status"] == status
        assert headers[b"content-type"] == b"application/problem+json"
        assert (b"www-authenticate" in headers) == (status == 401)
        problem = json.loads(body["body"])
        assert (problem["status"], problem["reason"]) == (status, "a_1")
        assert len(asked.api.bodies) == 1
        assert [event["status"] for event in asked.events] == [200, status]


async def test_asgi_answers_429_with_retry_after_over_the_rate() -> None:
    async with gateway() as (asked, monitor):
        monitor.set("k_sk-1", "throttle", rate=6.0)
        await until(lambda: len(asked.app._client._copy) == 1)
        answers = [(await asked.ask(key()))[0] for _ in range(6)]
        assert [each["status"] for each in answers] == [200] * 5 + [429]
        assert 1 <= int(dict(answers[-1]["headers"])[b"retry-after"]) <= 10


async def test_asgi_marks_responses() -> None:
    async with gateway() as (asked, monitor):
        monitor.set("k_sk-1", "mark", mark="m_1")
        await until(lambda: len(asked.app._client._copy) == 1)
        sent = await asked.ask(key(), ("X-XM-Mark", "m_2"))
        assert (b"x-xm-mark", b"m_1") in sent[0]["headers"]
        await asked.ask(key("sk-2"), ("X-XM-Mark", "m_2"))
        passed_on = [dict(scope["headers"]).get(b"x-xm-mark") for scope in asked.api.scopes]
        assert passed_on == [b"m_1", None]  # only the monitor names marks


async def test_asgi_streams_parts_as_they_come_and_counts_them() -> None:
    async with gateway() as (asked, _):
        asked.api.kind = b"text/event-stream; charset=utf-8"
        asked.api.parts = [b'data: {"n": %d}\n\n' % n for n in range(3)] + [b"data: [DONE]\n\n"]
        sent = await asked.ask(key())
        assert [part["body"] for part in sent[1:-1]] == asked.api.parts
        assert asked.events[0]["output_tokens"] == 3
        usage = b'data: {"choices": [], "usage": {"completion_tokens": 40, "details": {}}}\n\n'
        asked.api.parts.insert(3, usage)
        await asked.ask(key())
        assert asked.events[1]["output_tokens"] == 40


async def test_asgi_counts_for_the_first_key_header_and_hides_the_others() -> None:
    async with gateway() as (asked, monitor):
        monitor.set("k_sk-2", "block")
        await until(lambda: len(asked.app._client._copy) == 1)
        lines = [("X-API-Key", "sk-3"), ("Accept", "*/*"), key(), ("Authorization", "Bearer sk-4")]
        await asked.ask(*lines)
        assert asked.events[0]["api_key"] == hashed_key("sk-1")
        names = [name for name, _ in asked.api.scopes[0]["headers"]]
        assert names == [b"accept", b"authorization"]
        refused = await asked.ask(("X-API-Key", "sk-2"), key())
        assert refused[0]["status"] == 403


async def test_asgi_reads_a_key_in_the_url() -> None:
    async with gateway() as (asked, monitor):
        monitor.set("k_sk-1", "block")
        await until(lambda: len(asked.app._client._copy) == 1)
        assert (await asked.ask(query="api_key=sk%2D1"))[0]["status"] == 403
        assert asked.events[0]["api_key"] == hashed_key("sk-1")


async def test_asgi_passes_open_paths_and_requests_without_a_key() -> None:
    async with gateway() as (asked, monitor):
        assert (await asked.ask(path="/health", method="GET"))[0]["status"] == 200
        assert (await asked.ask())[0]["status"] == 200
        assert (asked.events, monitor.calls) == ([], 0)
        await asked.ask(key(), path="/health")  # a POST may be a request after all
        assert len(asked.events) == 1


async def test_asgi_checks_other_methods_and_sends_no_event_of_them() -> None:
    async with gateway() as (asked, monitor):
        monitor.set("k_sk-1", "block")
        await until(lambda: len(asked.app._client._copy) == 1)
        assert (await asked.ask(key(), path="/v1/models", method="GET"))[0]["status"] == 403
        assert (await asked.ask(key("sk-2"), method="GET"))[0]["status"] == 200
        assert asked.events == []


async def test_asgi_refuses_an_unreadable_key_except_in_shadow_mode() -> None:
    unreadable = ("Authorization", "Basic A")
    async with gateway() as (asked, monitor):
        assert (await asked.ask(unreadable))[0]["status"] == 400
        monitor.shadow = True
        monitor.cut()
        await until(lambda: asked.app._client.shadow)
        assert (await asked.ask(unreadable))[0]["status"] == 200


async def test_asgi_passes_an_unreadable_key_before_it_knows_the_monitor() -> None:
    asked = Gateway(FakeMonitor())  # which nobody starts
    assert (await asked.ask(("Authorization", "Basic A")))[0]["status"] == 200
    await asked.app.close()


async def test_asgi_takes_the_caller_from_the_application() -> None:
    caller = Caller("sk-9", account="acme", payment="card-1", end_user="eve")
    async with gateway(identify=lambda scope: caller) as (asked, monitor):
        await asked.ask(key())
        [event] = asked.events
        assert event["api_key"] == hashed_key("sk-9")
        assert (event["account"], event["payment"], event["end_user"]) == caller[1:]
        assert asked.messages[0].key == b"acme"
        assert monitor.looked_up[0] == {"key": "sk-9", "account": "acme", "end_user": "eve"}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"messages": [{"role": "user", "content": "cut o', "cut o"),
        (b'{"prompt": "NaN is no JSON", "temperature": NaN}', "NaN is no JSON"),
        (b'{"x": ' + b"[" * 5_000 + b"]" * 5_000 + b', "prompt": "below"}', "below"),
        (b'{"prompt": "' + b"x" * 2_000_000 + b'"}', "xxx"),
    ],
)
async def test_asgi_reads_bodies_that_a_client_damaged(body: bytes, text: str) -> None:
    async with gateway() as (asked, _):
        await asked.ask(key(), body=body)
        assert text.encode() in asked.messages[0].value
        assert len(asked.messages[0].value) <= 1_000_000


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[1]", b"\xff\xfe"])
async def test_asgi_counts_requests_without_a_readable_body(body: bytes) -> None:
    async with gateway() as (asked, _):
        await asked.ask(key(), body=body)
        assert asked.events[0]["api_key"] == hashed_key("sk-1")


async def test_asgi_reports_requests_that_the_application_fails() -> None:
    async with gateway() as (asked, _):
        asked.api.fails = True
        with pytest.raises(RuntimeError):
            await asked.ask(key())
        assert asked.events[0]["status"] == 500


async def test_asgi_refuses_websockets_of_a_blocked_key() -> None:
    async with gateway() as (asked, monitor):
        monitor.set("k_sk-1", "block")
        await until(lambda: len(asked.app._client._copy) == 1)
        assert (await asked.ask(key("sk-2"), kind="websocket"))[0]["type"] == "websocket.accept"
        [close] = await asked.ask(key(), kind="websocket")
        assert (close["type"], close["code"]) == ("websocket.close", 1008)


async def test_asgi_starts_and_stops_with_the_application() -> None:
    async with running_monitor() as monitor:
        asked = Gateway(monitor)
        stop = asyncio.Event()

        async def lifespan(scope: Any, receive: Any, send: Any) -> None:
            await stop.wait()

        asked.app._app = lifespan
        running = asyncio.create_task(asked.app({"type": "lifespan"}, None, None))  # type: ignore
        await until(lambda: asked.app._client.live)
        stop.set()
        await running
        assert asked.app._client._started is False
