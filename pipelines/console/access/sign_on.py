"""Finds the session that a request belongs to, and begins and ends sessions.

People sign on by the header of a reverse proxy, or with a name and a token. Where the proxy names
somebody, that person counts. A session that began with the header is worth nothing without it.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

from starlette.datastructures import MutableHeaders
from starlette.requests import Request

from monitor.config import Settings
from pipelines.console.access import csrf
from pipelines.console.access.cookie import Cookie, is_encrypted
from pipelines.console.access.proxy import Proxy
from pipelines.console.access.rates import SignOnRates
from pipelines.console.access.session import Session
from pipelines.console.access.session_store import Entry, SessionStore
from pipelines.console.access.users import User, Users
from pipelines.console.access.viewer import Viewer

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_P = ParamSpec("_P")
_REFRESH_SECONDS = 1.0  # between two looks at the users file
_THREADS = 16
_STREAM = "text/event-stream"


class SignOn:
    """Signs people on.

    Args:
        settings: the proxy, the users and Redis.
        clock: wall-clock time, epoch seconds.

    Raises:
        ConfigError: if the users file or a setting cannot be used.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        chosen = settings.console
        self._store = SessionStore(settings.redis_url)
        self._users, self._proxy = Users(chosen.users_file), Proxy(chosen)
        self._rates, self._cookie = SignOnRates(time.monotonic), Cookie(is_encrypted(chosen))
        self._clock, self._refreshed = clock, 0.0
        self._threads = ThreadPoolExecutor(_THREADS, "sessions")

    async def __call__(self, request: Request) -> Session | None:
        """The session of a request."""
        now, id = self._clock(), self._cookie.read(request)
        # a page that is left open listens, which is no use of the session
        use = request.headers.get("accept") != _STREAM
        kept = await self._thread(self._store.find, id, now, use=use) if id else None
        entry, notices = kept or (None, [])
        named = self._named(request)
        if named is not None:
            if entry is not None and (entry.name, entry.by) == (named.name, "proxy"):
                return self._session(named, id, notices)
            log.info("signed_on by=proxy name=%s", named.name)
            return await self._begin(Entry(named.name, "proxy", "", now, now), named)
        viewer = self._holder(entry) if entry is not None else None
        return None if viewer is None else self._session(viewer, id, notices)

    @property
    def takes_tokens(self) -> bool:
        """Whether anyone can sign on with a token."""
        return self._users.has_tokens()

    async def sign_in(self, request: Request, name: str, token: str) -> str | None:
        """Begin a session with a name and a token, and return the line of its cookie; `None` if
        they are wrong.

        The id is a new one, and a session that the browser had ends.

        Raises:
            TooManyError: if there were too many attempts.
        """
        address = self._proxy.client(peer_of(request), request.headers)
        verify = partial(self._users.verify, name, token)
        user = await self._rates.check(address, verify)
        if user is None:
            log.warning("sign_on_refused address=%s", address)
            return None
        log.info("signed_on by=token name=%s address=%s", user.viewer.name, address)
        await self.end(request)
        now = self._clock()
        entry = Entry(user.viewer.name, "token", user.proof, now, now)
        return (await self._begin(entry, user.viewer)).cookie

    async def end(self, request: Request) -> None:
        """End the session of a request."""
        id = self._cookie.read(request)
        if id:
            await self._thread(self._store.end, id)

    async def end_all(self, viewer: Viewer) -> None:
        """End all sessions of a person."""
        await self._thread(self._store.end_all, viewer.name)

    def begin_form(self, request: Request) -> tuple[str, str]:
        """The CSRF token of the form that signs on, and the line of its cookie, which names no
        session."""
        id = self._cookie.read(request) or secrets.token_urlsafe(32)
        return csrf.token_of(id), self._cookie.line(id)

    def is_form_valid(self, request: Request, presented: str) -> bool:
        """Whether the form that signs on has its token."""
        id = self._cookie.read(request)
        return bool(id) and csrf.is_same(csrf.token_of(id), presented)

    def no_cookie(self) -> str:
        """The line that deletes the cookie in a browser."""
        return self._cookie.line("", 0)

    async def is_alive(self, viewer: Viewer, id: str) -> bool:
        """Whether a session has not ended, and its person still has these rights."""
        kept = await self._thread(self._store.find, id, self._clock(), use=False)
        if kept is None:
            return False
        if kept[0].by == "token":
            return self._holder(kept[0]) == viewer
        user = self._user(viewer.name)
        return user is None or user.viewer == viewer

    async def keep_notices(self, id: str, notices: list[str]) -> None:
        """Keep what the next page of a session shows."""
        await self._thread(self._store.set_notices, id, notices)

    def _named(self, request: Request) -> Viewer | None:
        """The person that the proxy names, if that person has a role."""
        person = self._proxy.person(peer_of(request), request.headers)
        if person is None:
            return None
        user = self._user(person.name)
        if user is not None:
            return user.viewer
        return None if person.role is None else Viewer(person.name, person.role)

    def _holder(self, entry: Entry) -> Viewer | None:
        """Whose session of a token it is: the user may be gone, or have a new token since."""
        user = self._user(entry.name)
        if user is None or entry.by != "token" or not hmac.compare_digest(user.proof, entry.proof):
            return None
        return user.viewer

    def _user(self, name: str) -> User | None:
        now = time.monotonic()
        if now - self._refreshed >= _REFRESH_SECONDS:
            self._refreshed = now
            self._users.refresh()
        return self._users.find(name)

    async def _thread(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a call for Redis in separate threads, so that slow pages do not delay it."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(call, *args, **kwargs))

    async def _begin(self, entry: Entry, viewer: Viewer) -> _Stored:
        id = await self._thread(self._store.begin, entry)
        session = self._session(viewer, id, [])
        session.cookie = self._cookie.line(id)
        return session

    def _session(self, viewer: Viewer, id: str, notices: list[str]) -> _Stored:
        return _Stored(viewer, csrf.token_of(id), notices, id, self, tuple(notices))


@dataclass(slots=True)
class _Stored(Session):
    """A session in Redis.

    Attributes:
        before: the notices that Redis has.
        cookie: the line that gives a browser the id of a new session.
    """

    id: str = ""
    sign_on: SignOn | None = None
    before: tuple[str, ...] = ()
    cookie: str = ""

    async def alive(self) -> bool:
        assert self.sign_on is not None
        return await self.sign_on.is_alive(self.viewer, self.id)

    async def finish(self, headers: MutableHeaders) -> None:
        if self.cookie:
            headers.append("set-cookie", self.cookie)
        if self.sign_on is not None and tuple(self.notices) != self.before:
            await self.sign_on.keep_notices(self.id, self.notices)


def peer_of(request: Request) -> str:
    """The address at the other end of a connection."""
    return request.client.host if request.client else ""
