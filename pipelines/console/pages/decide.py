"""Decisions in force and the allow-list, and what a person decides on one subject."""

from __future__ import annotations

import time
from typing import NamedTuple, cast

from starlette.requests import Request
from starlette.responses import Response

from monitor.alerting.alerts import ACTIONS, Action
from monitor.alerting.enforcement import Allowance
from monitor.identity import is_pseudonym
from monitor.requests.ties import is_tie
from pipelines.console.access import tenants
from pipelines.console.access.viewer import Viewer
from pipelines.console.actions.approve import decide as decide_or_propose
from pipelines.console.forms import fields, page_number
from pipelines.console.page import (
    Console,
    Pages,
    Refused,
    blocking,
    console,
    notify,
    render,
    see_other,
    viewer,
)
from pipelines.console.view.history import decisions_in_force
from pipelines.console.words import path
from pipelines.inspect.decisions import Applied, Enforcement, allowance, applied, enforcement

page = Pages()
_ROWS = 50  # on a page


class Held(NamedTuple):
    """What applies to a subject at this moment, and its entry of the allow-list."""

    applied: Applied | None
    allowance: Allowance | None


class Listed(NamedTuple):
    """A page of the decisions in force, what holds decisions back, and the allow-list."""

    enforcement: Enforcement
    allowed: list[Allowance]
    decisions: list[Applied]
    total: int


def held(console: Console, subject: str) -> Held:
    """What applies to one subject, from Redis."""
    control, now = console.control.read(), time.time()
    found = applied(console.store.in_force([subject])[0], control, console.store.shadow(), now)
    return Held(found, allowance(control, subject, now))


@page("/decisions", right="read")
async def decisions(request: Request) -> Response:
    """The decisions in force, the strongest first."""
    query = request.query_params
    action, number = query.get("action", ""), page_number(query)
    if action and action not in ACTIONS:
        raise Refused(404, console(request).words("decisions.no_action"))
    listed = await blocking(_listed, console(request), viewer(request), action, number)
    subject = _exemptible(query.get("subject", ""))
    if subject:
        await blocking(tenants.check, console(request).view, viewer(request), [subject])
    return render(
        request,
        "decisions.html",
        place="decisions",
        listed=listed,
        action=action,
        page=number,
        size=_ROWS,
        subject=subject,
        held=await blocking(held, console(request), subject) if subject else None,
    )


@page("/decisions/{subject}/decide", right="decide", methods=("POST",))
async def decide(request: Request) -> Response:
    """Decide on a subject in place of the detectors."""
    subject, form = _subject(request), await fields(request)
    if not is_pseudonym(subject):
        raise Refused(404, console(request).words("decide.no_subject"))
    outcome = await blocking(
        decide_or_propose,
        console(request),
        viewer(request),
        [subject],
        cast("Action", form.choice("action", ACTIONS)),
        form.seconds(),
        form.text("why"),
        rate=form.number("rate") if form.text("action") == "throttle" else None,
        shadow=form.is_set("shadow"),
    )
    if outcome.proposal is not None:
        notify(request, console(request).words("decide.proposed"))
        return see_other(f"/approvals/{outcome.proposal}")
    for why in outcome.failed.values():
        raise Refused(422, why)
    now = await blocking(held, console(request), subject)
    notify(request, _sentence(request, now.applied))
    return see_other(path(subject))


@page("/decisions/{subject}/delete", right="decide", methods=("POST",))
async def delete(request: Request) -> Response:
    """Delete all decisions on a subject."""
    subject, form = await _own(request), await fields(request)
    who = viewer(request).name
    await blocking(console(request).control.delete, subject, who, form.text("why"))
    notify(request, console(request).words("decide.deleted"))
    return see_other(path(subject))


@page("/decisions/{subject}/allow", right="decide", methods=("POST",))
async def allow(request: Request) -> Response:
    """Put a subject on the allow-list."""
    form = await fields(request)
    subject = await _own(request)
    await blocking(
        console(request).control.allow,
        subject,
        form.text("owner"),
        form.seconds(),
        viewer(request).name,
        form.text("why"),
    )
    notify(request, console(request).words("decide.allowed"))
    return see_other(path(subject))


@page("/decisions/{subject}/deny", right="decide", methods=("POST",))
async def deny(request: Request) -> Response:
    """Take a subject off the allow-list."""
    subject, form = await _own(request), await fields(request)
    who = viewer(request).name
    await blocking(console(request).control.disallow, subject, who, form.text("why"))
    notify(request, console(request).words("decide.denied"))
    return see_other(path(subject))


def _listed(console: Console, viewer: Viewer, action: str, number: int) -> Listed:
    """A page of decisions: the view says which subjects have one, Redis what applies to them."""
    control, setting, now = console.control.read(), console.store.shadow(), time.time()
    rows, total = decisions_in_force(
        console.view,
        viewer.tenants,
        now,
        action=action,
        limit=_ROWS,
        offset=_ROWS * (number - 1),
    )
    subjects = [row.subject for row in rows]
    in_force = (applied(each, control, setting, now) for each in console.store.in_force(subjects))
    visible = tenants.theirs(console.view, viewer, control.allowed)
    set_by_people = enforcement(control, setting, now)
    return Listed(
        set_by_people,
        [each for each in set_by_people.allowed if each.subject in visible],
        [each for each in in_force if each is not None],
        total,
    )


def _subject(request: Request) -> str:
    """The subject in the path.

    Raises:
        Refused: if it is no pseudonym.
    """
    found: str = request.path_params["subject"]
    if not _exemptible(found):
        raise Refused(404, console(request).words("decide.no_subject"))
    return found


async def _own(request: Request) -> str:
    """The same, if this person may act on it."""
    subject = _subject(request)
    await blocking(tenants.check, console(request).view, viewer(request), [subject])
    return subject


def _exemptible(text: str) -> str:
    """A text that names what can be on the allow-list; empty for any other."""
    return text if is_pseudonym(text) or is_tie(text) else ""


def _sentence(request: Request, found: Applied | None) -> str:
    """What gateways do with a subject after a decision."""
    t = console(request).words
    if found is None or found.decided == "observe":
        return t("decided.observe")
    if found.action == "observe":
        return t("decided." + found.why)
    return t("decided.action", action=t("action." + found.action))
