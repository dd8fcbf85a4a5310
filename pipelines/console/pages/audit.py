"""The audit: who changed what, when and why."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from pipelines.console.access import tenants
from pipelines.console.access.viewer import Viewer
from pipelines.console.forms import day
from pipelines.console.page import (
    Console,
    Pages,
    Refused,
    blocking,
    console,
    render,
    session,
    viewer,
)
from pipelines.console.view.history import AuditRow, audit, audited_names

page = Pages()
_ROWS = 100  # on a page
_PART = 1_000  # read at once for a file
_DAY = 86_400.0
_LONGEST = 500  # characters of a filter, as many as a name may have


class Chosen(NamedTuple):
    """What a filter names, as the query of the page has it; empty: all."""

    who: str = ""
    what: str = ""
    subject: str = ""
    reference: str = ""
    since: str = ""
    until: str = ""

    def read(
        self,
        console: Console,
        viewer: Viewer,
        before: tuple[float, str] | None = None,
        limit: int = _PART,
    ) -> list[AuditRow]:
        """The changes that the filter leaves, the newest first; arguments as of `audit`."""
        first, last = day(self.since), day(self.until)
        rows = audit(
            console.view,
            viewer.tenants,
            who=self.who,
            what=self.what,
            subject=self.subject,
            reference=self.reference,
            since=first or 0.0,
            until=0.0 if last is None else last + _DAY,
            before=before,
            limit=limit,
        )
        whole = tenants.theirs(console.view, viewer, {row.about for row in rows})
        return [row if row.about in whole else _withheld(row) for row in rows]


class Line(msgspec.Struct, frozen=True):
    """A change as a line of the file: as on the topic of the audit, with when in words."""

    id: str
    at: float
    what: str
    who: str
    why: str
    subject: str
    before: msgspec.Raw
    after: msgspec.Raw
    reference: str


@page("/audit", right="read")
async def audit_page(request: Request) -> Response:
    """Changes, the newest first."""
    chosen, who = _chosen(request), viewer(request)
    rows = await blocking(chosen.read, console(request), who, _before(request), _ROWS + 1)
    names, kinds = await blocking(_names, console(request), who, rows, chosen)
    shown = rows[:_ROWS]
    return render(
        request,
        "audit.html",
        place="audit",
        rows=[(row, _state(row.before), _state(row.after)) for row in shown],
        chosen=chosen,
        query={name: value for name, value in chosen._asdict().items() if value},
        names=names,
        kinds=kinds,
        next=f"{shown[-1].at!r}/{shown[-1].id}" if len(rows) > _ROWS else "",
    )


@page("/audit.jsonl", right="read")
async def audit_file(request: Request) -> Response:
    """All changes that the filter leaves, as JSON lines."""
    return StreamingResponse(
        _lines(request, _chosen(request)),
        media_type="application/x-ndjson",
        headers={"Content-Disposition": "attachment; filename=audit.jsonl"},
    )


async def _lines(request: Request, chosen: Chosen) -> AsyncIterator[bytes]:
    services, who, known = console(request), viewer(request), session(request)
    before: tuple[float, str] | None = None
    while rows := await blocking(chosen.read, services, who, before):
        if known is None or not await known.alive():
            return
        yield b"".join(msgspec.json.encode(_line(row)) + b"\n" for row in rows)
        before = rows[-1].at, rows[-1].id


def _names(
    console: Console, viewer: Viewer, rows: list[AuditRow], chosen: Chosen
) -> tuple[list[str], list[str]]:
    """Who made changes and what they changed, for the choices of the filter.

    For a person with tenants, only those on the page: to find all, each change must be looked at.
    """
    if not viewer.tenants:
        return audited_names(console.view)
    who = {chosen.who, *(row.who for row in rows)}
    what = {chosen.what, *(row.what for row in rows)}
    return sorted(filter(None, who)), sorted(filter(None, what))


def _withheld(row: AuditRow) -> AuditRow:
    """A change about a campaign with members of other tenants: its states may list them."""
    return msgspec.structs.replace(row, why="", before="", after="")


def _line(row: AuditRow) -> Line:
    return Line(
        row.id,
        row.at,
        row.what,
        row.who,
        row.why,
        row.subject,
        msgspec.Raw(row.before or "null"),
        msgspec.Raw(row.after or "null"),
        row.reference,
    )


def _state(text: str) -> Any:
    """A state before or after a change."""
    return msgspec.json.decode(text) if text else None


def _chosen(request: Request) -> Chosen:
    query = request.query_params
    found = Chosen(*(query.get(name, "").strip() for name in Chosen._fields))
    if any(len(each) > _LONGEST for each in found):
        raise Refused(404, console(request).words("audit.no_filter"))
    for each in (found.since, found.until):
        day(each)  # refuses one that is none, before a response begins
    return found


def _before(request: Request) -> tuple[float, str] | None:
    """After which change the page begins; `None` for the first."""
    at, _, id = request.query_params.get("before", "").partition("/")
    try:
        found = float(at) if at else None
    except ValueError:
        found = math.nan
    if found is None:
        return None
    if not math.isfinite(found):
        raise Refused(404, console(request).words("audit.no_filter"))
    return found, id
