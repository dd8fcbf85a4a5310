"""The pages on which gateways look up decisions.

| page | answer |
|---|---|
| `/v1/decision` | any method; 200: let the request pass, 401: challenge the key, 403: block it |
| `/v1/admit` | the same, and 429 for a throttled key beyond its rate, which is counted here |
| `POST /v1/decisions` | what applies to many keys, accounts and end users |
| `GET /v1/decisions/feed` | server-sent events: what changes |

The first two accept any path below them: a gateway may append that of the client.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from monitor.errors import InputError, StoreError
from pipelines.decide.feed import ChangeFeed
from pipelines.decide.guard import TOKEN_HEADER, Guard, Refusal
from pipelines.decide.pages.bodies import Batch, BatchFound, Found, Item
from pipelines.decide.service import DecisionService
from pipelines.gateways.answers import Answer, failed
from pipelines.gateways.applied import applied

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_RETRY_SECONDS = 5
_MOST_FEEDS = 256  # clients of the feed at a time
_CHUNK = 20  # items of a batch that are looked up before other look-ups are answered
_STREAM = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}


class LookupPages:
    """Answers look-ups.

    Args:
        service: answers them.
        guard: permits them.
        feed: publishes changes; default: none, as in a worker.

    Attributes:
        feeds: clients of the feed.
    """

    def __init__(
        self, service: DecisionService, guard: Guard, feed: ChangeFeed | None = None
    ) -> None:
        self._service, self._guard, self._feed = service, guard, feed
        self.feeds = 0

    def add_to(self, app: web.Application) -> None:
        """Add the pages that workers have, too."""
        for path, handler in (("/v1/decision", self.decision), ("/v1/admit", self.admit)):
            app.router.add_route("*", path, handler)
            app.router.add_route("*", path + "/{tail:.*}", handler)

    async def decision(self, request: web.Request) -> web.StreamResponse:
        """Answer a gateway."""
        return self._look_up(request, admit=False)

    async def admit(self, request: web.Request) -> web.StreamResponse:
        """Answer a gateway, and count the request of a throttled key."""
        return self._look_up(request, admit=True)

    async def batch(self, request: web.Request) -> web.StreamResponse:
        """Answer for many keys, accounts and end users."""
        client, token = client_of(request), token_of(request)
        if (refusal := self._guard.page(client, token)) is not None:
            return refused(refusal)
        batch = await body_of(request, Batch)
        if (refusal := self._guard.page(client, token, len(batch.items) - 1)) is not None:
            return refused(refusal)
        found: list[Found] = []
        for begin in range(0, len(batch.items), _CHUNK):
            found += map(self._found, batch.items[begin : begin + _CHUNK])
            await asyncio.sleep(0)
        return json_response(BatchFound(found))

    async def feed(self, request: web.Request) -> web.StreamResponse:
        """Send changes until the client leaves."""
        refusal = self._guard.page(client_of(request), token_of(request))
        if refusal is not None:
            return refused(refusal)
        if self.feeds >= _MOST_FEEDS:
            return response(failed(503, f"{_MOST_FEEDS} clients follow the feed already.", 30))
        assert self._feed is not None
        stream = web.StreamResponse(headers=_STREAM)
        self.feeds += 1
        try:
            await stream.prepare(request)
            async for events in self._feed.follow(request.headers.get("Last-Event-ID")):
                await stream.write(events)
                request.protocol.used()  # type: ignore[attr-defined]
        except ConnectionError:
            pass
        finally:
            self.feeds -= 1
        return stream

    def _look_up(self, request: web.Request, *, admit: bool) -> web.StreamResponse:
        refusal = self._guard.lookup(client_of(request), request.headers.get(TOKEN_HEADER))
        if refusal is not None:
            return refused(refusal)
        headers = list(request.headers.items())
        query = request.rel_url.raw_query_string
        return response(self._service.answer(headers, query, admit=admit))

    def _found(self, item: Item) -> Found:
        keys, accounts, end_users = (
            [each] if each else [] for each in msgspec.structs.astuple(item)
        )
        subjects = self._service.subjects(keys, accounts, end_users)
        found = applied(partial(self._service.copy.find, subjects), time.time())
        return Found(**msgspec.structs.asdict(found), known=self._service.known, subjects=subjects)


def client_of(request: web.Request) -> str:
    """The address of the client, not of what it claims."""
    return request.remote or ""


def token_of(request: web.Request) -> str | None:
    """The token that a request presents, in its own header or as a bearer."""
    token = request.headers.get(TOKEN_HEADER)
    if token is None:
        scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
        token = rest.strip() if scheme.lower() == "bearer" else None
    return token


async def body_of(request: web.Request, kind: type[Any]) -> Any:
    """The body of a request.

    Raises:
        FailedError: if it is not JSON of this form.
    """
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except msgspec.MsgspecError as error:
        raise FailedError(failed(400, f"The body cannot be used: {error}.")) from None


class FailedError(Exception):
    """A call that is answered with a problem document."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every failure with a problem document."""
    try:
        return await handler(request)
    except FailedError as failure:
        return response(failure.answer)
    except InputError as error:  # the body was checked before
        return response(failed(409, str(error)))
    except StoreError as error:
        log.warning("change_failed reason=%r", str(error))
        return response(failed(503, str(error), _RETRY_SECONDS))
    except web.HTTPException as error:
        answer = failed(error.status, f"{error.reason}. See /openapi.json.")
        allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return response(answer._replace(headers=answer.headers | allowed))


def json_response(body: Any) -> web.Response:
    """A body that is not an answer to a gateway."""
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


def response(answer: Answer) -> web.Response:
    """An answer as aiohttp sends it."""
    return web.Response(status=answer.status, headers=answer.headers, body=answer.content)


def refused(refusal: Refusal) -> web.Response:
    """The answer to a call that is not permitted."""
    return response(failed(*refusal))
