"""Cases: the list, one case with its entries, and what people do with them."""

from __future__ import annotations

import re
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from monitor.evidence.entries import Entry, FactsTaken
from monitor.evidence.rows import CaseRow
from pipelines.cases import desk
from pipelines.cases.desk import CaseView
from pipelines.cases.review.appeals import Waiting, waiting
from pipelines.console.access import tenants
from pipelines.console.access.viewer import Viewer
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

page = Pages()
_ROWS = 50  # on a page
_ENTRIES = 100  # of a case on a page, the newest first
_OUTCOMES = ("extraction", "not-extraction", "unclear", "duplicate")
_ID = re.compile("case_[0-9a-f]{16}")


class Shown(NamedTuple):
    """A case as a page shows it.

    Attributes:
        entries: some of them, the newest first.
        facts: numbers of the entries with facts, which can be reproduced.
        appeals: that wait for a ruling.
    """

    view: CaseView
    entries: list[Entry]
    facts: list[int]
    appeals: list[Waiting]


@page("/cases", right="read")
async def cases(request: Request) -> Response:
    """The cases, the ones that changed last first."""
    number, everything = page_number(request.query_params), "all" in request.query_params
    rows = await blocking(_listed, console(request), viewer(request), everything)
    return render(
        request,
        "cases.html",
        place="cases",
        rows=rows[_ROWS * (number - 1) : _ROWS * number],
        total=len(rows),
        everything=everything,
        page=number,
        size=_ROWS,
        subject=request.query_params.get("subject", ""),
    )


@page("/cases", right="decide", methods=("POST",))
async def open_case(request: Request) -> Response:
    """Open a case on a subject."""
    form, who = await fields(request), viewer(request)
    subject = form.text("subject")
    await blocking(tenants.check, console(request).view, who, [subject])
    case = await blocking(
        desk.open_case,
        console(request).cases.store,
        console(request).settings,
        subject,
        who.name,
        form.text("why"),
    )
    notify(request, console(request).words("cases.opened"))
    return see_other(f"/cases/{case}")


@page("/cases/{case}", right="read")
async def case(request: Request) -> Response:
    """A case: what is known, who did what, and whether its entries are whole."""
    before = page_number(request.query_params, "before", 0)
    shown = await blocking(_shown, console(request), viewer(request), case_of(request), before)
    return render(
        request,
        "case.html",
        place="cases",
        shown=shown,
        view=shown.view,
        row=shown.view.row,
        outcomes=_OUTCOMES,
        longest=desk.LONGEST_NOTE,
    )


@page("/cases/{case}/note", right="decide", methods=("POST",))
async def note(request: Request) -> Response:
    """Write a note into a case."""
    case, form = await own_case(request), await fields(request)
    who = viewer(request).name
    await blocking(desk.note, console(request).cases.store, case, form.text("text"), who)
    return _changed(request, case, "case.noted")


@page("/cases/{case}/close", right="decide", methods=("POST",))
async def close(request: Request) -> Response:
    """Close a case."""
    case, form = await own_case(request), await fields(request)
    outcome = desk.outcome_of(form.choice("outcome", _OUTCOMES))
    who, why = viewer(request).name, form.text("why")
    await blocking(desk.close, console(request).cases.store, case, outcome, who, why)
    return _changed(request, case, "case.closed")


@page("/cases/{case}/reopen", right="decide", methods=("POST",))
async def reopen(request: Request) -> Response:
    """Open a closed case again."""
    case, form = await own_case(request), await fields(request)
    who = viewer(request).name
    await blocking(desk.reopen, console(request).cases.store, case, who, form.text("why"))
    return _changed(request, case, "case.reopened")


def case_of(request: Request) -> str:
    """The case in the path.

    Raises:
        Refused: if it is no id of a case.
    """
    found: str = request.path_params["case"]
    if not _ID.fullmatch(found):
        raise Refused(404, console(request).words("case.unknown"))
    return found


async def own_case(request: Request) -> str:
    """The same, if this person may see and change the case."""
    case = case_of(request)
    await blocking(check_case, console(request), viewer(request), case)
    return case


def check_case(console: Console, viewer: Viewer, case: str) -> None:
    """Check that all that a case is about belongs to the tenants of a person.

    Raises:
        Refused: if it does not, as if there were no such case.
    """
    if console.cases.store.row(case) is None:
        raise Refused(404, console.words("case.unknown"))
    if viewer.tenants:
        _check_theirs(console, viewer, desk.view(console.cases.store, case))


def _check_theirs(console: Console, viewer: Viewer, view: CaseView) -> None:
    """Check the subject, and every key of an alert, of the facts or of a ruling."""
    case = view.case
    subjects = {case.subject, *(each.subject for each in case.rulings if each.subject)}
    for alert in case.alerts.values():
        subjects |= {alert.subject.id, *alert.subject.members}
    for entry in case.entries:
        if isinstance(entry.body, FactsTaken):
            subjects |= {member.key for member in entry.body.facts.members}
    if view.problems or subjects - tenants.theirs(console.view, viewer, subjects):
        raise Refused(404, console.words("case.unknown"))


def _listed(console: Console, viewer: Viewer, everything: bool) -> list[CaseRow]:
    found = desk.listed(console.cases.store, everything=everything, subject="")
    visible = tenants.theirs(console.view, viewer, {row.subject for row in found})
    return [row for row in found if row.subject in visible]


def _shown(console: Console, viewer: Viewer, case: str, before: int) -> Shown:
    """A case with its entries before a number, or the newest ones."""
    store = console.cases.store
    if store.row(case) is None:
        raise Refused(404, console.words("case.unknown"))
    view = desk.view(store, case)
    if viewer.tenants:
        _check_theirs(console, viewer, view)
    entries = [each for each in view.case.entries if not before or each.number < before]
    facts = [each.number for each in view.case.entries if isinstance(each.body, FactsTaken)]
    appeals = waiting([view.row], console.settings.cases.answer_days)
    return Shown(view, entries[: -_ENTRIES - 1 : -1], facts, appeals)


def _changed(request: Request, case: str, notice: str) -> Response:
    notify(request, console(request).words(notice))
    return see_other(f"/cases/{case}")
