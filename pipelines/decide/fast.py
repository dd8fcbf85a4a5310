"""Answers look-ups without aiohttp, which takes most of the time of such a short request.

A connection begins here. As long as all that arrives are look-ups without a body, one after the
other, they are answered at once, from the callback that received them. Anything else hands the
connection, with what has arrived of the request, over to aiohttp for good: another page, a body,
pipelined requests, a request that is malformed or too long.
"""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from http import HTTPStatus

import httptools
from aiohttp import web

from pipelines.decide.guard import TOKEN_HEADER, Guard
from pipelines.decide.service import DecisionService
from pipelines.gateways.answers import Answer, failed
from pipelines.web.server import Connection, Connections

_OURS = re.compile(rb"(?:GET|POST|PUT|PATCH|DELETE|OPTIONS) /v1/(decision|admit)[ ?/]")
_END = b"\r\n\r\n"
_LONGEST = 64 << 10  # bytes of one request
_MOST_UNREAD = 256 << 10  # bytes of answers that a client has not read; it is cut off then


class _Request:
    """Parses requests of one connection, one after the other.

    Attributes:
        query: of the URL.
        headers: all header lines.
        token: in the header for look-up tokens.
        lasts: whether the connection stays open after the answer.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self.query, self._complete = b"", False
        self.headers: list[tuple[str, str]] = []
        self.token: str | None = None
        self.lasts = False

    def parse(self, received: bytes) -> bool:
        """Parse one request; whether it is whole, without a body."""
        self.query, self.headers, self.token, self._complete = b"", [], None, False
        try:
            self._parser.feed_data(received)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return False
        return self._complete

    def on_url(self, url: bytes) -> None:
        """Called by the parser."""
        self.query = url.partition(b"?")[2]

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        pair = name.decode("latin-1"), value.decode("utf-8", "surrogateescape")
        self.headers.append(pair)
        if len(name) == len(TOKEN_HEADER) and pair[0].lower() == TOKEN_HEADER:
            self.token = pair[1]

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._complete, self.lasts = True, self._parser.should_keep_alive()


class FastConnection(Connection):
    """A connection that answers look-ups itself.

    Args:
        service: answers them.
        guard: permits them.
    """

    def __init__(
        self, server: web.Server, connections: Connections, service: DecisionService, guard: Guard
    ) -> None:
        super().__init__(server, connections)
        self._service, self._guard = service, guard
        self._received = b""
        self._request: _Request | None = _Request()  # `None` once aiohttp has the connection

    def data_received(self, data: bytes) -> None:
        if self._request is None:
            super().data_received(data)
            return
        received = self._received = self._received + data if self._received else data
        ours = _OURS.match(received)
        if ours is None or len(received) > _LONGEST:
            self._hand_over()
        elif (end := received.find(_END)) >= 0:
            if end + len(_END) == len(received) and self._request.parse(received):
                self._received = b""
                self._answer(self._request, admit=ours[1] == b"admit")
            else:
                self._hand_over()

    def _answer(self, request: _Request, *, admit: bool) -> None:
        transport = self.transport
        if transport is None:
            return
        peer = transport.get_extra_info("peername")
        refusal = self._guard.lookup(peer[0] if peer else "", request.token)
        if refusal is None:
            query = request.query.decode("utf-8", "surrogateescape")
            answer = self._service.answer(request.headers, query, admit=admit)
        else:
            answer = failed(*refusal)
        transport.write(_message(answer, request.lasts))
        self.used()
        if not request.lasts or transport.get_write_buffer_size() > _MOST_UNREAD:
            transport.close()

    def _hand_over(self) -> None:
        received, self._received, self._request = self._received, b"", None
        super().data_received(received)


class _Clock:
    """The time for the Date field, formatted once a second."""

    def __init__(self) -> None:
        self._second, self._text = 0, ""

    def __call__(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second, self._text = second, formatdate(second, usegmt=True)
        return self._text


_date = _Clock()
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus}


def _message(answer: Answer, lasts: bool) -> bytes:
    """An answer as HTTP/1.1."""
    body = answer.content
    lines = [
        _STATUS_LINES[answer.status],
        *[f"{name}: {value}" for name, value in answer.headers.items()],
        f"Date: {_date()}",
        f"Content-Length: {len(body)}",
        "\r\n" if lasts else "Connection: close\r\n\r\n",
    ]
    return "\r\n".join(lines).encode("latin-1") + body
