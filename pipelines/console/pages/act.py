"""The preview of what was selected, and its confirmation."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from pipelines.console.access.tenants import check
from pipelines.console.access.viewer import Viewer
from pipelines.console.actions.approve import carry_out_draft, needs_second_person
from pipelines.console.actions.drafts import Draft, Drafts
from pipelines.console.actions.order import Order, Outcome, checked
from pipelines.console.actions.preview import Preview, is_same, preview
from pipelines.console.forms import fields
from pipelines.console.page import (
    Console,
    Pages,
    blocking,
    console,
    notify,
    render,
    see_other,
    viewer,
)
from pipelines.console.view.campaigns import list_shares
from pipelines.console.words import path

page = Pages()

SHOWN = 200  # subjects that a preview lists


@page("/act/{id}", right="decide")
async def drafted(request: Request) -> Response:
    """What a draft would do."""
    return await _preview(request, await _draft(request))


@page("/act/{id}", right="decide", methods=("POST",))
async def confirm(request: Request) -> Response:
    """Carry out a draft, or propose it, if nothing has changed since its preview."""
    draft, form = await _draft(request), await fields(request)
    order = draft.order(form.seconds(), form.text("why"), shadow=form.is_set("shadow"))
    order = checked(order)
    seen = await blocking(previewed, console(request), viewer(request), order, draft.campaign)
    if not is_same(form.text("seen"), seen):
        return await _preview(request, draft, status=409, changed=True)
    arguments = console(request), viewer(request), request.path_params["id"], order
    outcome = await blocking(carry_out_draft, *arguments)
    return done(request, outcome, path(draft.campaign))


def done(request: Request, outcome: Outcome, back: str) -> Response:
    """The answer to an order: a notice, or what failed."""
    words = console(request).words
    if outcome.proposal:
        notify(request, words("act.proposed"))
        return see_other(f"/approvals/{outcome.proposal}")
    if outcome.failed:
        return render(request, "failed.html", outcome=outcome, back=back)
    notify(request, words("act.done", n=len(outcome.changes)))
    return see_other(back)


def previewed(console: Console, viewer: Viewer, order: Order, campaign: str) -> Preview:
    """What an order from a campaign would do, for a person who may see its subjects."""
    check(console.view, viewer, order.subjects)
    members = list_shares(console.view, campaign, viewer.tenants) if campaign else []
    roles = {each.key: each.role for each in members}
    return preview(console, order, roles, time.time())


def shown(found: Preview) -> dict[str, Any]:
    """The parts of a preview for its template."""
    return {"preview": found, "hits": found.hits[:SHOWN]}


async def _draft(request: Request) -> Draft:
    drafts = Drafts(console(request).control.server)
    return await blocking(drafts.read, request.path_params["id"], viewer(request).name)


async def _preview(
    request: Request, draft: Draft, status: int = 200, *, changed: bool = False
) -> Response:
    order = draft.order(1.0, "", shadow=False)
    found = await blocking(previewed, console(request), viewer(request), order, draft.campaign)
    second = await blocking(needs_second_person, console(request), viewer(request), order)
    return render(
        request,
        "act.html",
        status,
        draft=draft,
        draft_id=request.path_params["id"],
        changed=changed,
        second=second,
        above=console(request).settings.console.second_person_above,
        **shown(found),
    )
