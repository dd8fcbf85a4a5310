"""A time stamp authority on this machine: openssl's, behind HTTP."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_CONFIG = """
[req]
distinguished_name = dn
[dn]
[ca]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign
[tsa_certificate]
extendedKeyUsage = critical,timeStamping
keyUsage = critical,digitalSignature
[tsa]
serial = {folder}/serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
"""


class LocalAuthority:
    """Makes time stamps with a certificate of its own.

    Attributes:
        url: of its HTTP interface; empty while it does not serve.
        ca: its root certificate, PEM.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self.url = folder, ""
        (folder / "tsa.cnf").write_text(_CONFIG.format(folder=folder))
        (folder / "serial").write_text("01\n")
        self._openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=root "
            "-keyout ca.key -out ca.pem -config tsa.cnf -extensions ca"
        )
        self._openssl(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=tsa "
            "-keyout tsa.key -out tsa.csr -config tsa.cnf"
        )
        self._openssl(
            "x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 "
            "-extfile tsa.cnf -extensions tsa_certificate -out tsa.pem"
        )
        self.ca = (folder / "ca.pem").read_bytes()

    def answer(self, query: bytes) -> bytes:
        """The response to a query, DER."""
        (self._folder / "query.tsq").write_bytes(query)
        self._openssl(
            "ts -reply -queryfile query.tsq -signer tsa.pem -inkey tsa.key "
            "-config tsa.cnf -section tsa -out answer.tsr"
        )
        return (self._folder / "answer.tsr").read_bytes()

    @contextmanager
    def serving(self, answer: bytes | None = None) -> Iterator[LocalAuthority]:
        """Serve.

        Args:
            answer: to every query; default: the right one.
        """
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                query = self.rfile.read(int(self.headers["Content-Length"]))
                body = authority.answer(query) if answer is None else answer
                self.send_response(200)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self.url = f"http://127.0.0.1:{server.server_port}/tsa"
            try:
                yield self
            finally:
                server.shutdown()
                self.url = ""

    def _openssl(self, arguments: str) -> None:
        subprocess.run(
            ["openssl", *arguments.split()], cwd=self._folder, check=True, capture_output=True
        )
