"""ASGI middleware: asks before each request, enforces the answer, and sends the request as event.

    app = FastAPI()
    app.add_middleware(ExtractionMonitor)

    vllm serve … --middleware pipelines.gateways.asgi.ExtractionMonitor

It is configured as the worker is: XM_GATEWAY__URL names the monitor, XM_KAFKA the brokers.
Responses stream through unchanged. A request that is refused gets a problem document (RFC 9457).

| status | |
|---|---|
| 401 with `WWW-Authenticate` | the key is challenged |
| 403 | the key is blocked |
| 429 with `Retry-After` | the key is throttled and over its rate |
| 400 | the request names a key that cannot be read |
| 503 with `Retry-After` | nothing is known about the key, and XM_GATEWAY__FAIL is `closed` |

Requests without a key, and GET requests to `open_paths`, pass without a question. POST requests and
websockets become events; a GET, for example of the list of models, does not.

A request may name keys in several headers. The event counts for the first of
`XM_GATEWAY__KEY_HEADERS` that it has; the other headers of that list are not passed to the
application, so it cannot use a key that the monitor does not count. The decision is the strongest
on any of the keys.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from functools import partial
from typing import Any, NamedTuple

import msgspec

from monitor.config import Settings, load
from monitor.requests.mappings import FieldMapping
from pipelines.gateways.client.client import DecisionClient, Verdict
from pipelines.gateways.client.events import EventProducer
from pipelines.gateways.client.exchange import Exchange
from pipelines.gateways.client.metrics import ClientMetrics, shared_metrics
from pipelines.gateways.client.native import hashed_key, message
from pipelines.gateways.client.refusals import UNREADABLE_KEY, Refusal, refusal
from pipelines.gateways.keys import KeyReader, fold
from pipelines.kafka.outlet import Message

Scope = MutableMapping[str, Any]
ASGIMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[ASGIMessage]]
Send = Callable[[ASGIMessage], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset(
    {"/", "/health", "/healthz", "/readyz", "/ping", "/metrics", "/version", "/load"}
    | {"/docs", "/redoc", "/openapi.json", "/favicon.ico"}
)
_NOT_A_KEY = 1_000_000  # place of a header that holds no key
_POLICY_VIOLATION = 1008  # RFC 6455, 7.4.1
_MARK = b"x-xm-mark"


class Caller(NamedTuple):
    """Who sends a request, as far as the application knows better than the headers.

    Attributes:
        key: the API key, instead of those in the headers.
        account: the customer behind it.
        payment: how the customer pays.
        end_user: of an application that serves many.
    """

    key: str | None = None
    account: str | None = None
    payment: str | None = None
    end_user: str | None = None


class ExtractionMonitor:
    """The middleware.

    Args:
        app: the application behind it.
        settings: default: from XM_* variables and the settings file.
        open_paths: paths that need no key.
        identify: the caller of a request, from its ASGI scope; default: from the key headers. Do
            not take accounts or end users from what a client can choose.
        metrics: default: those of the process.

    Raises:
        ConfigError: if the settings cannot be used.
    """

    def __init__(
        self,
        app: App,
        settings: Settings | None = None,
        *,
        open_paths: Collection[str] = OPEN_PATHS,
        identify: Callable[[Scope], Caller] | None = None,
        metrics: ClientMetrics | None = None,
    ) -> None:
        settings = settings or load()
        self._app = app
        self._open_paths = frozenset(open_paths)
        self._identify = identify
        self._metrics = metrics or shared_metrics()
        names = map(fold, settings.gateway.key_headers.split(","))
        self._headers = {name: place for place, name in enumerate(names)}
        self._reader = KeyReader(settings.gateway)
        self._client = DecisionClient(settings.gateway, self._metrics)
        self._events = EventProducer(settings, self._metrics)
        self._mapping = FieldMapping("openai")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] in ("http", "websocket") and not self._is_open(scope):
            await self._request(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._client.start()
        try:
            await self._app(scope, receive, send)
        finally:
            await self.close()

    async def close(self) -> None:
        """Send the events that wait, and disconnect. A server with lifespan support calls this."""
        await self._events.close()
        await self._client.close()

    def _is_open(self, scope: Scope) -> bool:
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        method = scope.get("method")
        return method == "OPTIONS" or (method in ("GET", "HEAD") and path in self._open_paths)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = self._identify(scope) if self._identify else Caller()
        verdict, key = await self._decide(scope, caller)
        exchange = Exchange()
        refused = refusal(verdict)
        try:
            if refused is None:
                await self._serve(scope, receive, send, exchange, verdict)
            else:
                exchange.status = refused.status
                await _refuse(scope, receive, send, refused)
        finally:
            if key is not None and scope.get("method", "POST") == "POST":
                self._report(scope, caller, key, exchange)

    async def _decide(self, scope: Scope, caller: Caller) -> tuple[Verdict, str | None]:
        """What to do with a request, and the key that it counts for."""
        self._client.start()
        if caller.key:
            keys = (caller.key, hashed_key(caller.key))
            return await self._client.check(keys, caller.account, caller.end_user), caller.key
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]]
        named = self._reader.read(headers, scope.get("query_string", b"").decode("latin-1"))
        if named.unreadable and self._client.enforces:
            self._metrics.decisions.labels("unreadable_key").inc()
            return UNREADABLE_KEY, None
        if not named.keys:
            self._metrics.decisions.labels("no_key").inc()
            return Verdict(), None
        verdict = await self._client.check(named.keys, caller.account, caller.end_user)
        return verdict, self._only_key(scope, headers) or named.keys[0]

    def _only_key(self, scope: Scope, headers: list[tuple[str, str]]) -> str | None:
        """The key in the first of the key headers; the others are removed from the request."""
        places = [self._headers.get(fold(name), _NOT_A_KEY) for name, _ in headers]
        first = min(range(len(places)), key=places.__getitem__, default=None)
        if first is None or places[first] == _NOT_A_KEY:
            return None
        scope["headers"] = [
            line
            for at, line in enumerate(scope["headers"])
            if at == first or places[at] == _NOT_A_KEY
        ]
        found = self._reader.read([headers[first]]).keys
        return found[0] if found else None

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, exchange: Exchange, verdict: Verdict
    ) -> None:
        """Let the application answer, and listen. Only the monitor names its mark."""
        mark = [(_MARK, verdict.mark.encode())] if verdict.mark else []
        if mark or any(name == _MARK for name, _ in scope["headers"]):
            others = [line for line in scope["headers"] if line[0] != _MARK]
            scope = {**scope, "headers": [*others, *mark]}

        async def received() -> ASGIMessage:
            part = await receive()
            if part["type"] == "http.request":
                exchange.received(part.get("body", b""))
            return part

        async def sent(part: ASGIMessage) -> None:
            if part["type"] == "http.response.start":
                headers = {name.lower(): value for name, value in part.get("headers", ())}
                kind = headers.get(b"content-type", b"").lower()
                exchange.begun(part["status"], kind, b"content-encoding" in headers)
                if mark:
                    part = {**part, "headers": [*part.get("headers", ()), *mark]}
            elif part["type"] == "http.response.body":
                exchange.sent(part.get("body", b""))
            elif part["type"] == "websocket.accept":
                exchange.status = 200
            await send(part)

        try:
            await self._app(scope, received, sent)
        except Exception:
            exchange.status = 500
            raise

    def _report(self, scope: Scope, caller: Caller, key: str, exchange: Exchange) -> None:
        """Queue the event of a request."""
        agent = next((v for k, v in scope["headers"] if k == b"user-agent"), b"")
        record = exchange.record() | {
            "request_id": uuid.uuid4().hex,
            "api_key_hash": hashed_key(key),
            "account": caller.account,
            "payment": caller.payment,
            "end_user": caller.end_user,
            "ip": (scope.get("client") or (None,))[0],
            "user_agent": agent.decode("latin-1"),
        }
        self._events.put(partial(self._message, record, exchange), exchange.size)

    def _message(self, record: dict[str, Any], exchange: Exchange) -> Message:
        return message(record | exchange.bodies(), self._mapping)


async def _refuse(scope: Scope, receive: Receive, send: Send, refused: Refusal) -> None:
    if scope["type"] == "websocket":
        await receive()  # websocket.connect; to close before accepting answers 403
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        return
    body = msgspec.json.encode(refused.problem)
    headers = refused.headers | {
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
    }
    lines = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": lines})
    await send({"type": "http.response.body", "body": body})
