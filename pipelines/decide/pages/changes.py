"""The pages on which people change what is enforced. Each needs a token that permits it.

Every change is written to Redis together with its audit entry, which names the token's owner and
the reason. Subjects are pseudonyms: a key in a URL would end in the logs of proxies.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from monitor.alerting.changes import Change, check_allowed, check_subject, checked_text
from monitor.alerting.enforcement import SHADOW_KINDS
from monitor.errors import InputError
from monitor.store.control import ControlStore
from pipelines.decide.copy import DecisionCopy
from pipelines.decide.guard import Guard, Refusal
from pipelines.decide.pages.bodies import NewAllowance, NewDecision, NewSwitch
from pipelines.decide.pages.lookups import (
    FailedError,
    body_of,
    json_response,
    refused,
    token_of,
)
from pipelines.gateways.answers import failed


class ChangePages:
    """Changes decisions, allow-list and switches.

    Args:
        store: of decisions and control state.
        copy: whose control state `GET /v1/control` shows.
        guard: permits changes.
    """

    def __init__(self, store: ControlStore, copy: DecisionCopy, guard: Guard) -> None:
        self._store, self._copy, self._guard = store, copy, guard

    async def control(self, request: web.Request) -> web.StreamResponse:
        """Show the switches, the allow-list and what was withdrawn."""
        refusal = self._guard.read(token_of(request))
        return refused(refusal) if refusal else json_response(self._copy.control)

    async def decide(self, request: web.Request) -> web.StreamResponse:
        """Decide on a subject, whatever the detectors decide."""
        who, subject = self._who(request), _subject(request, check_subject)
        body = await body_of(request, NewDecision)
        why = _text(body.reason, "reason")
        options = {"rate": body.rate, "shadow": body.shadow}
        return await _done(
            self._store.decide, subject, body.action, body.seconds, who, why, **options
        )

    async def undecide(self, request: web.Request) -> web.StreamResponse:
        """Delete the decisions on a subject. Detectors may decide again."""
        who, subject = self._who(request), _subject(request, check_subject)
        return await _done(self._store.delete, subject, who, _reason(request))

    async def allow(self, request: web.Request) -> web.StreamResponse:
        """Exempt a subject from enforcement."""
        who, subject = self._who(request), _subject(request, check_allowed)
        body = await body_of(request, NewAllowance)
        owner, why = _text(body.owner, "owner"), _text(body.reason, "reason")
        return await _done(self._store.allow, subject, owner, body.seconds, who, why)

    async def disallow(self, request: web.Request) -> web.StreamResponse:
        """Remove a subject from the allow-list."""
        who, subject = self._who(request), _subject(request, check_allowed)
        return await _done(self._store.disallow, subject, who, _reason(request))

    async def switch(self, request: web.Request) -> web.StreamResponse:
        """Set a switch."""
        who, kind = self._who(request), _kind(request)
        body = await body_of(request, NewSwitch)
        why = _text(body.reason, "reason")
        until = None if body.seconds is None else time.time() + body.seconds
        return await _done(
            self._store.switch, _switch(request), body.on, who, why, kind=kind, until=until
        )

    async def unswitch(self, request: web.Request) -> web.StreamResponse:
        """Remove a switch: the setting applies again."""
        who, kind = self._who(request), _kind(request)
        return await _done(
            self._store.switch, _switch(request), None, who, _reason(request), kind=kind
        )

    def _who(self, request: web.Request) -> str:
        """Who makes a change, for the audit.

        Raises:
            FailedError: if it is not permitted.
        """
        found = self._guard.change(token_of(request))
        if isinstance(found, Refusal):
            raise FailedError(failed(*found))
        return f"token:{found.name}"


async def _done(change: Callable[..., Change], *arguments: Any, **options: Any) -> web.Response:
    """Make a change in a thread and show it."""
    return json_response(await asyncio.to_thread(change, *arguments, **options))


def _subject(request: web.Request, check: Callable[[str], None]) -> str:
    subject = request.match_info["subject"]
    _checked(check, subject)
    return subject


def _reason(request: web.Request) -> str:
    return _text(request.query.get("reason", ""), "reason in the URL (?reason=…)")


def _text(text: str, what: str) -> str:
    _checked(checked_text, text, what)
    return text


def _checked(check: Callable[..., object], *arguments: str) -> None:
    """Refuse what the store would not accept.

    Raises:
        FailedError: if it cannot be used.
    """
    try:
        check(*arguments)
    except InputError as error:
        raise FailedError(failed(400, str(error))) from None


def _switch(request: web.Request) -> str:
    return request.path.rpartition("/")[2]


def _kind(request: web.Request) -> str:
    """The kind of alert that a switch is for; empty for all."""
    kind = request.query.get("kind")
    if kind is None:
        return ""
    if _switch(request) != "shadow":
        raise FailedError(failed(400, "Only shadow mode can be set for one kind of alert."))
    if kind not in SHADOW_KINDS:
        detail = f"There is no such kind of alert. Choose one of {', '.join(SHADOW_KINDS)}."
        raise FailedError(failed(400, detail))
    return kind
