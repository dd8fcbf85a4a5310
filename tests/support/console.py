"""The console in tests: its pages for a person who is signed on, and the program."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from httpx2 import Response
from jinja2.bccache import Bucket, BytecodeCache
from starlette.requests import Request
from starlette.testclient import TestClient

from monitor.config import Settings
from pipelines.console.access import csrf
from pipelines.console.access.session import Session
from pipelines.console.access.viewer import Role, Viewer
from pipelines.console.app import application, services
from pipelines.console.page import Console
from tests.support.programs import WebServer

ADDRESS = "http://127.0.0.1:6069"
SECRET = "known to the console's tests only"  # of identities


class _Compiled(BytecodeCache):
    """Compiles templates once for all applications of a process."""

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._code:
            bucket.bytecode_from_string(self._code[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.bytecode_to_string()


_COMPILED = _Compiled()


class Pages:
    """The pages in this process, for a person who is signed on. Redirects are not followed.

    Attributes:
        console: what the pages work with.
        session: of the person; `None` signs off.
        client: sends requests as they are.
    """

    def __init__(self, settings: Settings, viewer: Viewer) -> None:
        self.console: Console = services(settings)
        self.console.templates.env.bytecode_cache = _COMPILED
        self.session: Session | None = Session(viewer, csrf="known to this session only")
        self.client = TestClient(
            application(self.console, self._sign_on), ADDRESS, follow_redirects=False
        )

    async def _sign_on(self, _: Request) -> Session | None:
        return self.session

    def get(self, path: str, **parameters: str) -> Response:
        return self.client.get(path, params=parameters or None)

    def submit(self, path: str, **fields: str | list[str]) -> Response:
        """Send a form of this session."""
        token = self.session.csrf if self.session else ""
        return self.client.post(path, data={csrf.FIELD: token, **fields})


OpenPages = Callable[..., Pages]


@contextmanager
def opening(settings: Settings) -> Iterator[OpenPages]:
    """A function that opens the pages for somebody: `admin` without tenants, unless it says who."""
    with ExitStack() as stack:

        def open_for(
            role: Role = "admin", *, name: str = "ada", tenants: tuple[str, ...] = ()
        ) -> Pages:
            pages = Pages(settings, Viewer(name, role, tenants))
            stack.enter_context(pages.client)
            return pages

        yield open_for


class ConsoleProgram(WebServer):
    """`xm console`; ready when it shows what Redis has.

    Args:
        settings: environment variables, such as those of a worker.
        chosen: more of them.
    """

    page = "/readyz"

    def __init__(self, folder: Path, settings: Mapping[str, str], **chosen: str) -> None:
        super().__init__(folder)
        self.environment = {
            **settings,
            "XM_CONSOLE__PORT": str(self.port),
            "XM_CONSOLE__VIEW_FILE": str(folder / "view.sqlite"),
            **chosen,
        }

    def command(self) -> list[str]:
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return ["env", *variables, sys.executable, "-m", "pipelines.cli.main", "console"]
