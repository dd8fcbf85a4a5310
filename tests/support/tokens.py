"""Tokens for Kafka's OAUTHBEARER, and an endpoint that grants them."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

CLIENT, SECRET = "monitor", "known to the endpoint: +&%"


def token(seconds: float = 600.0, user: str = "monitor") -> str:
    """An unsecured JWS, which a broker without a key set accepts (RFC 7515, appendix A.5)."""
    now = int(time.time())
    claims = {"sub": user, "iat": now, "exp": now + seconds}
    return f"{_encoded({'alg': 'none'})}.{_encoded(claims)}."


def _encoded(part: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


class TokenServer:
    """A token endpoint on this machine.

    Attributes:
        url: of the endpoint.
        forms: what it was asked for.
        answer: status and fields instead of a token.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/token"
        self.forms: list[dict[str, list[str]]] = []
        self.answer: tuple[int, dict[str, object]] | None = None

    def respond(self, login: str, form: dict[str, list[str]]) -> tuple[int, dict[str, object]]:
        self.forms.append(form)
        if self.answer is not None:
            return self.answer
        # RFC 6749, section 2.3.1: both parts are form-encoded.
        expected = base64.b64encode(f"{CLIENT}:known+to+the+endpoint%3A+%2B%26%25".encode())
        if login != f"Basic {expected.decode()}":
            return 401, {"error": "invalid_client", "error_description": f"wrong: {login}"}
        return 200, {"access_token": token(), "token_type": "bearer", "expires_in": 600}


@contextmanager
def token_server() -> Iterator[TokenServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            status, fields = endpoint.respond(self.headers["Authorization"], form)
            body = json.dumps(fields).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status in (302, 307):
                self.send_header("Location", str(fields["location"]))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: tests read the answers."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        endpoint = TokenServer(server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield endpoint
        finally:
            server.shutdown()
