"""Proposals that wait for a second person."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import Response

from pipelines.console.access.viewer import Viewer
from pipelines.console.actions.approve import approve, proposals_of, refuse, waiting
from pipelines.console.actions.preview import Preview, is_same
from pipelines.console.actions.proposals import Proposal
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
from pipelines.console.pages.act import done, previewed, shown

page = Pages()


@page("/approvals", right="read")
async def approvals(request: Request) -> Response:
    """The proposals that wait."""
    found = await blocking(waiting, console(request), viewer(request))
    return render(request, "approvals.html", proposals=found, place="approvals")


@page("/approvals/{id}", right="read")
async def approval(request: Request) -> Response:
    """One proposal, with what it would do now."""
    return await _proposal(request)


@page("/approvals/{id}/approve", right="decide", methods=("POST",))
async def approve_it(request: Request) -> Response:
    """Approve a proposal and carry it out, if nothing has changed since its preview."""
    id, form = request.path_params["id"], await fields(request)
    _, found = await blocking(_read, console(request), viewer(request), id)
    if not is_same(form.text("seen"), found):
        return await _proposal(request, status=409, changed=True)
    outcome = await blocking(approve, console(request), viewer(request), id, form.text("why"))
    return done(request, outcome, "/approvals")


@page("/approvals/{id}/refuse", right="decide", methods=("POST",))
async def refuse_it(request: Request) -> Response:
    """Refuse a proposal, or take back one's own."""
    id, form = request.path_params["id"], await fields(request)
    await blocking(refuse, console(request), viewer(request), id, form.text("why"))
    notify(request, console(request).words("approvals.refused"))
    return see_other("/approvals")


async def _proposal(request: Request, status: int = 200, *, changed: bool = False) -> Response:
    person = viewer(request)
    proposal, found = await blocking(_read, console(request), person, request.path_params["id"])
    return render(
        request,
        "approval.html",
        status,
        proposal=proposal,
        own=proposal.is_by(person.name),
        changed=changed,
        place="approvals",
        **shown(found),
    )


def _read(console: Console, viewer: Viewer, id: str) -> tuple[Proposal, Preview]:
    proposal, subjects = proposals_of(console).read(id, time.time())
    return proposal, previewed(console, viewer, proposal.order(subjects), proposal.campaign)
