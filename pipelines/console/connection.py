"""A connection to a client that must send the head of a request in bounded time and size.

uvicorn waits for it without end. Then anyone who reaches the port could keep all connections busy,
or fill the memory, without signing on. The gate bounds bodies.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD_SECONDS, _HEAD_BYTES = 10.0, 65_536


class Connection(HttpToolsProtocol):
    """A connection as uvicorn's, with these bounds."""

    _late: asyncio.TimerHandle | None = None  # closes the connection while a head is awaited
    _bytes = 0  # of that head

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._late is not None:
            self._bytes += len(data)
            if self._bytes > _HEAD_BYTES:
                self.transport.close()

    def on_message_begin(self) -> None:
        self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def _await_head(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(_HEAD_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late, self._bytes = None, 0
