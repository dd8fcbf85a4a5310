"""What every request passes through before a page runs, and every response before it is sent.

A request for another host is refused: a page of an attacker whose name leads to this address must
not read what a browser that is signed on here can. A body is read whole, in bounded time and size,
before the page begins.

What a client sent is not logged, so of an error in a page only the type and the place are.
"""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
from http import HTTPStatus
from time import monotonic
from typing import Protocol
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor import config
from monitor.errors import StoreError
from pipelines.console.access import csrf
from pipelines.console.access.cookie import is_encrypted
from pipelines.console.access.headers import add_headers
from pipelines.console.access.proxy import Proxy, is_address
from pipelines.console.access.rates import Rates, TooManyError
from pipelines.console.access.session import Session
from pipelines.console.assets import addresses

log = logging.getLogger(__name__)

SAFE = frozenset({"GET", "HEAD"})
_FILES, _PROBES = "/static/", frozenset({"/healthz", "/readyz"})
_HOST = re.compile(r"(\[[\da-fA-F:.]+\]|[\w.-]+)(?::\d+)?", re.ASCII)
_FORM = "application/x-www-form-urlencoded"
_PACKAGES = re.compile("/(?:monitor|pipelines)/")
_BODY_BYTES, _BODY_SECONDS = 1 << 20, 10.0
_FORM_BYTES = 1 << 14  # of a client that is not signed on
_BODY_FIELDS = 1_000  # also empty ones: the parser takes seconds for a million
_BODY_LATE, _BODY_LARGE = 408, 413


class SignOn(Protocol):
    """Finds the session that a request belongs to."""

    async def __call__(self, request: Request) -> Session | None: ...


class Gate:
    """Checks requests, gives each its session, and completes responses.

    Args:
        sign_on: finds the session.
        settings: host names, the proxy and rates.

    Raises:
        ConfigError: if a setting cannot be used.
    """

    def __init__(self, app: ASGIApp, sign_on: SignOn, settings: config.Console) -> None:
        self._app, self._sign_on = app, sign_on
        self._tls = is_encrypted(settings)
        self._hosts = _hosts(settings)
        self._files = frozenset(addresses())
        self._proxy = Proxy(settings)
        self._rates = Rates(settings.requests_per_second, monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, request = scope["path"], Request(scope)
        answer = _Answer(send, self._cache(request), self._tls)
        try:
            if path in _PROBES:
                request.state.session = None
            else:
                self._check(request)
                answer.session = await self._identify(request)
                most = _FORM_BYTES if answer.session is None else _BODY_BYTES
                receive = _replay(await _body(request, receive, most), receive)
            await self._app(scope, receive, answer.send)
        except _RefusedError as refused:
            await answer.give(PlainTextResponse(f"{refused}\n", refused.status), scope)
        except TooManyError as error:
            headers = {"retry-after": str(error.seconds)}
            await answer.give(PlainTextResponse(f"{error}\n", 429, headers), scope)
        except StoreError as error:
            log.error("store_failed reason=%r", str(error))
            text = "Redis does not answer, see the log: try again in some seconds.\n"
            await answer.give(PlainTextResponse(text, 503, {"retry-after": "5"}), scope)
        except Exception as error:
            log.error("page_failed error=%s at=%s", type(error).__name__, _place(error))
            await answer.give(PlainTextResponse("The page failed, see the log.\n", 500), scope)

    def _check(self, request: Request) -> None:
        """Refuse a request that no page should see."""
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or not self._is_own(hosts[0]):
            raise _RefusedError(
                HTTPStatus.MISDIRECTED_REQUEST,
                "This is not a host name of the console: name it in XM_CONSOLE__HOSTS.",
            )
        peer = request.client.host if request.client else ""
        self._rates.address(self._proxy.client(peer, request.headers))
        if request.method in SAFE:
            return
        if csrf.is_foreign(request.headers.get("sec-fetch-site")):
            raise _RefusedError(403, "Another site sent this form: open the page and repeat it.")
        if request.headers.get("content-type", _FORM).partition(";")[0].strip().lower() != _FORM:
            raise _RefusedError(415, f"A form must be sent as {_FORM}.")

    async def _identify(self, request: Request) -> Session | None:
        """Give a request its session."""
        request.state.session = None
        if request.url.path.startswith(_FILES):
            return None
        session = await self._sign_on(request)
        if session is not None:
            self._rates.person(session.viewer.name)
        request.state.session = session
        return session

    def _cache(self, request: Request) -> str:
        """Who may keep a response: anybody a file, for ever if its address has its digest."""
        if not request.url.path.startswith(_FILES):
            return "no-store"
        known = f"{request.url.path}?{request.url.query}" in self._files
        return "public, max-age=31536000, immutable" if known else "no-cache"

    def _is_own(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        name = found[1].strip("[]").lower() if found else ""
        return name in self._hosts or is_address(name)


class _RefusedError(Exception):
    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class _Answer:
    """Completes a response."""

    def __init__(self, send: Send, cache: str, tls: bool) -> None:
        self._send, self._cache, self._tls = send, cache, tls
        self._started = False
        self.session: Session | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if self.session is not None:
                await self.session.finish(headers)
            add_headers(headers, tls=self._tls, cache=self._cache)
            self._started = True
        await self._send(message)

    async def give(self, response: Response, scope: Scope) -> None:
        """Send a response in place of the page's, which may have begun."""
        self.session = None
        if not self._started:
            await response(scope, _nothing, self.send)


def _place(error: Exception) -> str:
    """The last line of our own code that an error came from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if _PACKAGES.search(each.filename)] or frames
    return f"{own[-1].filename}:{own[-1].lineno}"


async def _body(request: Request, receive: Receive, most: int) -> bytes:
    """The whole body of a request.

    Args:
        most: bytes.
    """
    if request.method in SAFE:
        return b""
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            more = True
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > most:
                    raise _RefusedError(_BODY_LARGE, f"The form is larger than {most >> 10} kB.")
    except TimeoutError:
        raise _RefusedError(_BODY_LATE, "The form did not come within 10 seconds.") from None
    if body.count(b"&") >= _BODY_FIELDS:
        raise _RefusedError(_BODY_LARGE, "The form has more than 1,000 fields.")
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give a page the body, and what comes after it."""
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _hosts(settings: config.Console) -> frozenset[str]:
    own = urlsplit(settings.url).hostname if settings.url else None
    return frozenset(
        each.lower() for each in ("localhost", settings.host, *settings.hosts, own or "localhost")
    )
