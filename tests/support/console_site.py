"""Everything that an analyst works with: a worker with traffic, gateway, decisions and console."""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from monitor.config import Settings
from pipelines.console.access.users import new_user
from pipelines.console.access.viewer import ROLES
from pipelines.demo import embedded
from tests.support.console import ConsoleProgram
from tests.support.gateways import Nginx, nginx, replaced, write_nginx
from tests.support.monitored import Monitored, save_live_traffic
from tests.support.programs import DecisionService, WebServer, compile_kernels

_SECONDS = 60.0
_PROXY = "127.0.0.2"
_CONFIGURATION = Path(__file__).parents[2] / "deploy/console/nginx.conf"
LIMIT = 3  # keys that one person may block in an hour


class Site(NamedTuple):
    """Running servers.

    Attributes:
        monitored: a worker in shadow mode that has found a campaign.
        tokens: of the console, by name and role.
    """

    monitored: Monitored
    console: ConsoleProgram
    gateway: Nginx
    tokens: Mapping[str, str]

    @property
    def settings(self) -> Settings:
        return self.monitored.worker.settings

    def paths(self) -> list[str]:
        """A page of every kind."""
        found = self.monitored
        rooms = ("alerts", "decisions", "switches", "cases", "appeals", "approvals", "audit")
        return [
            "/",
            "/search",
            *(f"/{each}" for each in rooms),
            f"/campaigns/{found.campaign}",
            f"/keys/{found.pseudonym}",
            f"/keys/{found.account}",
            f"/alerts/{found.alert}",
            f"/cases/{found.case}",
        ]

    def answers(self, key: str, status: int) -> None:
        """Wait until the gateway answers with a status: it keeps an answer for two seconds."""
        deadline = time.monotonic() + _SECONDS
        while (found := self.status(key)) != status and time.monotonic() < deadline:
            time.sleep(0.1)
        assert found == status

    def status(self, key: str) -> int:
        """The status with which the gateway answers a request that has a key."""
        request = urllib.request.Request(
            f"{self.gateway.url}/v1/chat/completions", b"{}", {"X-API-Key": key}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


class _Model(BaseHTTPRequestHandler):
    """A model server that answers everything."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """Run all servers; enter when the console shows the campaign."""
    compile_kernels()
    traffic, xm, users = folder / "live.jsonl", folder / "xm", folder / "users"
    save_live_traffic(traffic)
    xm.write_text(f'#!/bin/sh\nexec {sys.executable} -m pipelines.cli.main "$@"\n')
    xm.chmod(0o755)
    made = {role: new_user(role, role) for role in ROLES}
    made["second"] = new_user("second", "analyst")
    users.write_text("".join(f"{line}\n" for _, line in made.values()))
    model = ThreadingHTTPServer(("127.0.0.1", 0), _Model)
    Thread(target=model.serve_forever, daemon=True).start()
    with ExitStack() as stack:
        stack.callback(model.shutdown)
        kafka = stack.enter_context(embedded.broker())
        store = stack.enter_context(embedded.store())
        monitored = Monitored(
            folder / "worker", kafka, store, traffic, xm, XM_DECISIONS__SHADOW="true"
        )
        stack.enter_context(monitored)
        decisions = DecisionService(folder / "decisions", monitored.worker)
        console = ConsoleProgram(
            folder / "console",
            monitored.worker.environment,
            XM_CONSOLE__USERS_FILE=str(users),
            XM_CONSOLE__SECOND_PERSON_ABOVE=str(LIMIT),
            XM_CONSOLE__REQUESTS_PER_SECOND="1000",
            XM_CONSOLE__PROXY_ADDRESSES=f'["{_PROXY}"]',
            XM_CONSOLE__PROXY_ROLES_HEADER="X-Forwarded-Groups",
            XM_CONSOLE__PROXY_ROLES='{"abuse-team": "analyst", "leads": "admin"}',
        )
        gateway = Nginx(folder / "gateway", model.server_port, decisions.port)
        for server in (decisions, console, gateway):
            stack.enter_context(server)
        yield Site(monitored, console, gateway, {name: token for name, (token, _) in made.items()})


class Proxy(WebServer):
    """Debian's nginx with the shipped configuration, without TLS, and a stand-in for oauth2-proxy.

    Attributes:
        signed_on: whether a person is.
    """

    page = "/oauth2/ping"

    def __init__(self, folder: Path, console: ConsoleProgram) -> None:
        super().__init__(folder)
        self.signed_on = True
        outer = self

        class SignOn(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                unknown = self.path == "/oauth2/auth" and not outer.signed_on
                self.send_response(401 if unknown else 202)
                if not unknown:
                    self.send_header("X-Auth-Request-Email", "grace@example.com")
                    self.send_header("X-Auth-Request-Groups", "abuse-team,everyone")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self.sign_on = ThreadingHTTPServer(("127.0.0.1", 0), SignOn)
        shipped = {
            "listen 443 ssl;": f"listen {self.address};",
            "ssl_certificate /etc/nginx/console.pem;": "",
            "ssl_certificate_key /etc/nginx/console.key;": "",
            "127.0.0.1:4180": f"127.0.0.1:{self.sign_on.server_port}",
            "proxy_pass http://127.0.0.1:6069;": (
                f"proxy_pass http://{console.address}; proxy_bind {_PROXY};"
            ),
            "proxy_set_header Host $host;": "proxy_set_header Host localhost;",
        }
        write_nginx(folder, replaced(_CONFIGURATION.read_text(), shipped))

    def command(self) -> list[str]:
        return nginx(self.folder)


@contextmanager
def proxy_before(console: ConsoleProgram, folder: Path) -> Iterator[Proxy]:
    """Run the reverse proxy of the documentation in front of a console."""
    proxy = Proxy(folder, console)
    Thread(target=proxy.sign_on.serve_forever, daemon=True).start()
    try:
        with proxy:
            yield proxy
    finally:
        proxy.sign_on.shutdown()
