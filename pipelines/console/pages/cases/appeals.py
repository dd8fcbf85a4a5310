"""Letters to customers, their appeals, and rulings on them."""

from __future__ import annotations

import time
from typing import Literal, cast

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from monitor.alerting.alerts import Action
from monitor.errors import InputError
from pipelines.cases.review.appeals import Waiting, waiting
from pipelines.cases.review.results import Ruling
from pipelines.cases.review.rule import ANNOUNCED
from pipelines.console.access import tenants
from pipelines.console.access.viewer import Viewer
from pipelines.console.forms import fields
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
from pipelines.console.pages.cases.case import check_case, own_case

page = Pages()
_RESULTS = ("upheld", "overturned")


@page("/appeals", right="read")
async def appeals(request: Request) -> Response:
    """Appeals that wait for a ruling, those that are due first on top."""
    found = await blocking(_waiting, console(request), viewer(request))
    return render(request, "appeals.html", place="cases", waiting=found, now=time.time())


@page("/appeals", right="decide", methods=("POST",))
async def record(request: Request) -> Response:
    """Record a customer's answer to a letter."""
    form, who = await fields(request), viewer(request)
    reference = form.text("reference")
    await blocking(_check_reference, console(request), who, reference)
    recorded = await blocking(
        console(request).cases.review.appeal,
        reference,
        form.text("text"),
        who.name,
        form.day("received"),
    )
    notice = "appeals.recorded" if recorded.in_time else "appeals.recorded_late"
    notify(request, console(request).words(notice, reference=recorded.appeal.reference))
    return see_other(f"/cases/{recorded.case}")


@page("/cases/{case}/letters", right="decide", methods=("POST",))
async def letter(request: Request) -> Response:
    """Write the letter that explains a decision to the customer."""
    case, form = await own_case(request), await fields(request)
    action = form.choice("action", ("", *ANNOUNCED))
    written = await blocking(
        console(request).cases.review.letter,
        case,
        viewer(request).name,
        subject=form.text("subject"),
        action=cast("Action", action) if action else None,
        again=form.is_set("again"),
    )
    notice = "letters.written" if written.is_new else "letters.known"
    notify(request, console(request).words(notice, reference=written.letter.reference))
    return see_other(f"/cases/{case}#{written.letter.reference}")


@page("/cases/{case}/letters/{reference}", right="read")
async def letter_file(request: Request) -> Response:
    """A letter as a file to send. It is never shown as a page: a template may have markup."""
    case, reference = await own_case(request), request.path_params["reference"]
    found = await blocking(console(request).cases.store.case, case)
    for each in found.letters:
        if each.reference == reference:
            name = f"attachment; filename={each.reference}.txt"
            return PlainTextResponse(each.text, headers={"Content-Disposition": name})
    raise Refused(404, console(request).words("letters.unknown"))


@page("/cases/{case}/rule", right="decide", methods=("POST",))
async def rule(request: Request) -> Response:
    """Uphold or overturn a decision, after an appeal or without one."""
    case, form = await own_case(request), await fields(request)
    reference, subject = form.text("reference"), form.text("subject")
    store = console(request).cases.store
    if reference and await blocking(store.find, reference) != case:
        raise InputError(console(request).words("letters.unknown"))
    ruling = await blocking(
        console(request).cases.review.rule,
        cast("Literal['upheld', 'overturned']", form.choice("result", _RESULTS)),
        reference or case,
        viewer(request).name,
        form.text("why"),
        subject="" if reference else subject,
    )
    notify(request, _sentence(request, ruling))
    return see_other(f"/cases/{case}")


def _waiting(console: Console, viewer: Viewer) -> list[Waiting]:
    found = waiting(console.cases.store.rows(), console.settings.cases.answer_days)
    visible = tenants.theirs(console.view, viewer, {each.subject for each in found})
    return [each for each in found if each.subject in visible]


def _check_reference(console: Console, viewer: Viewer, reference: str) -> None:
    """Check that a person may see the case of a letter."""
    if not reference.upper().startswith("R-"):
        raise InputError(console.words("letters.unknown"))
    check_case(console, viewer, console.cases.store.find(reference.upper()))


def _sentence(request: Request, ruling: Ruling) -> str:
    """What a ruling did, and what is left to do."""
    t = console(request).words
    parts = [t("ruling_done." + ruling.result, n=len(ruling.alerts))]
    if ruling.lifted:
        parts.append(t("ruling.lifted", n=len(ruling.lifted)))
    if ruling.remaining:
        parts.append(t("ruling.remaining", n=len(ruling.remaining)))
    if ruling.reference:
        parts.append(t("ruling.answer", reference=ruling.reference))
    return " ".join(parts)
