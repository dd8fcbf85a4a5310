"""Everything that an analyst works with: a worker with traffic, gateway, decisions and console."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from pipelines.console.access.users import new_user
from pipelines.console.access.viewer import ROLES
from pipelines.demo import embedded
from tests.support.console import ConsoleProgram
from tests.support.gateways import Nginx
from tests.support.monitored import Monitored, save_live_traffic
from tests.support.programs import DecisionService, compile_kernels


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
            monitored.worker,
            XM_CONSOLE__USERS_FILE=str(users),
            XM_CONSOLE__PROXY_ADDRESSES='["127.0.0.2"]',
        )
        gateway = Nginx(folder / "gateway", model.server_port, decisions.port)
        for server in (decisions, console, gateway):
            stack.enter_context(server)
        yield Site(monitored, console, gateway, {name: token for name, (token, _) in made.items()})
