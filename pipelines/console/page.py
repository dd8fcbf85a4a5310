"""What all pages share: rights, templates, notices, and errors that a person can mend."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from monitor.config import Settings
from monitor.store.alert_book import AlertBook
from monitor.store.control import ControlStore
from monitor.store.redis import RedisStore
from pipelines.console.access import csrf
from pipelines.console.access.gate import SAFE
from pipelines.console.access.session import Session
from pipelines.console.access.viewer import Right, Viewer
from pipelines.console.casework import Casework
from pipelines.console.health import Health
from pipelines.console.live import Once
from pipelines.console.ordinary import Kept, Ordinary
from pipelines.console.refused import Refused as Refused
from pipelines.console.view.database import View
from pipelines.console.words import Words

Page = Callable[[Request], Awaitable[Response]]
_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Console:
    """What pages work with."""

    settings: Settings
    view: View
    control: ControlStore
    book: AlertBook
    store: RedisStore
    templates: Jinja2Templates
    words: Words
    cases: Casework
    ordinary: Kept[Ordinary]
    health: Health
    live: Once
    active_keys: Kept[int]


class Pages:
    """The pages of a module.

    >>> page = Pages()
    >>> @page("/keys/{key}", right="read")
    ... async def key(request): ...

    Attributes:
        rights: the right that each page needs, in the order of the pages.
    """

    def __init__(self) -> None:
        self._routes: list[Route] = []
        self.rights: list[Right | None] = []

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def __call__(
        self, path: str, *, right: Right | None, methods: tuple[str, ...] = ("GET",)
    ) -> Callable[[Page], Page]:
        """Add a page.

        Args:
            right: that a person must have; `None`: nobody needs to be signed on.
        """

        def add(function: Page) -> Page:
            async def endpoint(request: Request) -> Response:
                if right is not None:
                    _check_right(request, right)
                if request.method not in SAFE:
                    await _check_csrf(request)
                return await function(request)

            self._routes.append(Route(path, endpoint, methods=methods, name=function.__name__))
            self.rights.append(right)
            return function

        return add


def console(request: Request) -> Console:
    """What the pages of this application work with."""
    found: Console = request.app.state.console
    return found


def session(request: Request) -> Session | None:
    """The session of a request; `None` if nobody is signed on."""
    found: Session | None = getattr(request.state, "session", None)
    return found


def viewer(request: Request) -> Viewer:
    """The person who is signed on."""
    found = session(request)
    assert found is not None
    return found.viewer


def notify(request: Request, text: str) -> None:
    """Show a text once, on the next page of this session."""
    found = session(request)
    assert found is not None
    found.notices.append(text)


def render(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """A page, or for htmx the part of it that a template is."""
    found = session(request)
    notices = list(found.notices) if found else []
    if found:
        found.notices.clear()
    shared = {
        "viewer": found.viewer if found else None,
        "csrf_token": found.csrf if found else "",
        "notices": notices,
        "health": console(request).health(scoped=bool(found and found.viewer.tenants)),
    }
    return console(request).templates.TemplateResponse(
        request, template, shared | context, status_code=status
    )


def see_other(path: str) -> RedirectResponse:
    """Go to another page of the console after a change."""
    return RedirectResponse(path, 303)


async def blocking(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run a function that waits, for SQLite or Redis, in a thread."""
    return await anyio.to_thread.run_sync(lambda: function(*args, **kwargs))


def _check_right(request: Request, right: Right) -> None:
    found = session(request)
    if found is None:
        raise Refused(401, "Nobody is signed on.")
    if not found.viewer.may(right):
        raise Refused(403, f"The role {found.viewer.role} may not do this: ask an administrator.")


async def _check_csrf(request: Request) -> None:
    """Check that a form came from a page of this session."""
    found = session(request)
    if found is None:
        return
    presented = request.headers.get(csrf.HEADER) or (await request.form()).get(csrf.FIELD, "")
    if not csrf.is_same(found.csrf, str(presented)):
        raise Refused(403, "The form is out of date: load the page again, then repeat the change.")
