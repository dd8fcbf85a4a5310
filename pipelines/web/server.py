"""A web server: aiohttp with bounds, so that no client can stop it or fill its log.

A connection that sends no whole request within ten seconds is closed, as is one that has been idle
for longer than gateways keep theirs. At most half of the process's file descriptors are
connections. When they are used up, the one that has been silent longest makes room; first those
that never sent a whole request.

What a client sends is not logged: a malformed request may hold an API key.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from pipelines.web.tls import ServerTls

log = logging.getLogger(__name__)

_REQUEST_SECONDS = 10.0  # for the first whole request of a connection
_IDLE_SECONDS = 75.0  # between requests; nginx keeps idle connections for 60 s
_LINGERING_SECONDS = 1.0  # for a body that no page reads
_SHUTDOWN_SECONDS = 2.0  # for answers that are on their way
BACKLOG = 1024  # connections that wait to be accepted
_MOST_CONNECTIONS = 4096
_DESCRIPTORS = 65_536  # wanted; the hard limit may be lower
_FEW_DESCRIPTORS = 4096


class Connections:
    """The open connections, the one that has been silent longest first.

    Args:
        most: open at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._new: OrderedDict[Connection, float] = OrderedDict()  # without a whole request yet
        self._known: OrderedDict[Connection, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._new) + len(self._known)

    def opened(self, connection: Connection) -> None:
        """Note a connection, and close another if there are too many."""
        if len(self) >= self._most:
            _close_first(self._new or self._known)
        self._new[connection] = time.monotonic()

    def used(self, connection: Connection) -> None:
        """Note that a connection has sent a whole request, or was answered."""
        self._new.pop(connection, None)
        self._known[connection] = time.monotonic()
        self._known.move_to_end(connection)

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._new.pop(connection, None)
        self._known.pop(connection, None)

    def expire(self, now: float) -> None:
        """Close those that have been silent for too long.

        Args:
            now: monotonic time, seconds.
        """
        for connections, seconds in ((self._new, _REQUEST_SECONDS), (self._known, _IDLE_SECONDS)):
            while connections and now - next(iter(connections.values())) >= seconds:
                _close_first(connections)


def _close_first(connections: OrderedDict[Connection, float]) -> None:
    connection, _ = connections.popitem(last=False)
    connection.force_close()


class Connection(web.RequestHandler):
    """A connection that is bounded by `Connections` and logs nothing that it receives."""

    def __init__(self, server: web.Server, connections: Connections) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=_IDLE_SECONDS,
            lingering_time=_LINGERING_SECONDS,
            access_log=None,  # type: ignore[arg-type]
        )
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connections.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except Exception as error:  # asyncio would log it with what it holds
            self.log_exception(exc_info=error)
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a malformed request, or one whose page failed, without a word of the request."""
        if status >= 500:
            self.log_exception(exc_info=exc)
        response = web.json_response({"error": _ERRORS.get(status, "failed")}, status=status)
        response.force_close()
        return response

    def log_exception(self, *_: Any, exc_info: BaseException | None = None, **__: Any) -> None:
        log.error("page_failed error=%s", type(exc_info).__name__)

    def used(self) -> None:
        """Note that a whole request has come, or was answered."""
        self._connections.used(self)


_ERRORS = {400: "malformed_request"}


@web.middleware
async def _note_use(request: web.Request, handler: Any) -> web.StreamResponse:
    connection: Any = request.protocol
    connection.used()
    try:
        response: web.StreamResponse = await handler(request)
        return response
    finally:
        if connection.transport is not None:
            connection.used()


class Server:
    """Serves pages on one port.

    Args:
        pages: what to serve.
        host: to listen on.
        port: to listen on.
        tls: certificate and client authentication; default: plain HTTP. A renewed certificate is
            used within a second.
        connection: makes a connection of aiohttp's server and the bounds; default: `Connection`.
        path: of a Unix socket to listen on, instead of the port.
        listening: a socket that listens already, instead of the port.
    """

    def __init__(
        self,
        pages: web.Application,
        host: str,
        port: int,
        *,
        tls: ServerTls | None = None,
        connection: Callable[[web.Server, Connections], Connection] | None = None,
        path: Path | None = None,
        listening: socket.socket | None = None,
    ) -> None:
        self._pages, self._host, self._port, self._tls = pages, host, port, tls
        self._path, self._listening = path, listening
        self._connection = connection or Connection
        pages.middlewares.append(_note_use)
        self._runner = web.AppRunner(
            pages, handle_signals=False, shutdown_timeout=_SHUTDOWN_SECONDS
        )
        self._server: asyncio.Server | None = None
        self._expiring: asyncio.Task[None] | None = None
        self._connections = Connections(_MOST_CONNECTIONS)

    @property
    def url(self) -> str:
        """Its address."""
        if self._path is not None:
            return f"unix://{self._path}"
        return f"{'https' if self._tls else 'http'}://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: if the address cannot be used.
        """
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._connections = Connections(min(_MOST_CONNECTIONS, descriptors // 2))
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        loop = asyncio.get_running_loop()

        def connection() -> Connection:
            return self._connection(server, self._connections)

        if self._path is not None:
            self._server = await loop.create_unix_server(connection, self._path, backlog=BACKLOG)
        elif self._listening is not None:
            self._server = await loop.create_server(
                connection, sock=self._listening, backlog=BACKLOG
            )
        else:
            self._server = await loop.create_server(
                connection,
                self._host,
                self._port,
                backlog=BACKLOG,
                reuse_address=True,
                ssl=None if self._tls is None else self._tls.context,
                ssl_handshake_timeout=_REQUEST_SECONDS if self._tls else None,
            )
        self._expiring = loop.create_task(self._expire())

    async def stop(self) -> None:
        """Stop listening and close all connections."""
        if self._expiring is not None:
            self._expiring.cancel()
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            if self._tls is not None:
                self._tls.refresh()
            self._connections.expire(time.monotonic())


def raise_descriptor_limit() -> None:
    """Raise the limit of file descriptors as far as allowed; warn if that is not far."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if max(soft, wanted) < _FEW_DESCRIPTORS:
        remedy = f"raise the limit (ulimit -n, LimitNOFILE) to {_FEW_DESCRIPTORS} or more"
        log.warning("few_descriptors limit=%d remedy=%r", max(soft, wanted), remedy)


class Sparse(logging.Filter):
    """Lets each message of a logger pass once a minute.

    asyncio logs every connection that it cannot accept, hundreds of times per second.
    """

    def __init__(self) -> None:
        super().__init__()
        self._passed: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        message = record.getMessage().partition("\n")[0]
        if now - self._passed.get(message, -60.0) < 60.0:
            return False
        if len(self._passed) >= 1_000:
            self._passed.clear()
        self._passed[message] = now
        return True
