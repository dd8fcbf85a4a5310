"""A TCP proxy that forwards requests and can hold back answers."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self


class Proxy:
    """Passes bytes to a server on this machine and back.

    Attributes:
        port: where it listens.
        marker: a client that sends these bytes gets no answer from then on, though the server
            gets all that it sends; empty: every client gets answers.
        muted: set once a client has sent the marker.
    """

    def __init__(self, server_port: int, marker: bytes = b"") -> None:
        self.marker = marker
        self.muted = threading.Event()
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                muted = threading.Event()
                for way in (self._pass_requests, self._pass_answers):
                    threading.Thread(target=way, args=(client, server, muted), daemon=True).start()

    def _pass_requests(
        self, client: socket.socket, server: socket.socket, muted: threading.Event
    ) -> None:
        seen = b""
        with suppress(OSError), client, server:
            while data := client.recv(1 << 16):
                seen = seen[-len(self.marker) :] + data
                if self.marker and self.marker in seen:
                    muted.set()  # before the server can answer
                    self.muted.set()
                server.sendall(data)

    def _pass_answers(
        self, client: socket.socket, server: socket.socket, muted: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                if not muted.is_set():
                    client.sendall(data)
