"""The first page: what is open, what was decided, what waits for a person; live."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from monitor.alerting.alerts import Action
from monitor.alerting.enforcement import Control
from monitor.detectors import ALL_DETECTORS
from monitor.errors import MonitorError
from pipelines.cases.review.appeals import MONTH, Waiting, waiting, withdrawn_lately
from pipelines.console.access.tenants import theirs
from pipelines.console.access.viewer import Viewer
from pipelines.console.actions import approve
from pipelines.console.actions.proposals import Proposal
from pipelines.console.forms import page_number
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
from pipelines.console.view import now as totals
from pipelines.console.view.campaigns import CampaignRow, list_campaigns
from pipelines.console.view.history import DecisionRow, count_in_force, decisions
from pipelines.console.view.keys import KeyPage, flagged_keys

page = Pages()

_ROWS = 20  # keys on a page
_CAMPAIGNS = 20
_LATELY, _TOGETHER = 12, 20  # groups of decisions, and how many each may have on average
_WAITING = 5  # of a kind
_MINUTE, _DAY = 60.0, 86_400.0
_TICK = 1.0  # seconds between two looks
_ALIVE = 5.0  # seconds between two questions whether the session lives
_STREAMS = 6  # of one person at a time
_streams: Counter[str] = Counter()
_TEMPLATE = "now_live.html"


class Budget(NamedTuple):
    """False alerts: how many the thresholds allow, and how many there were.

    Attributes:
        keys: ordinary keys of the last day.
        allowed: false warnings per day.
        raised: warnings of the last day, false or not.
        withdrawn: alerts that people found to be no attack, per day, mean of 30 days.
    """

    keys: int
    allowed: float
    raised: int
    withdrawn: float

    @property
    def used(self) -> float:
        """Share of the budget that withdrawn alerts use."""
        return self.withdrawn / self.allowed if self.allowed else float(self.withdrawn > 0)


class Work(NamedTuple):
    """What waits for a person."""

    again: list[totals.Again]
    again_total: int
    appeals: list[Waiting]
    appeals_total: int
    overdue: int
    proposals: list[Proposal]
    cases: int


class Decided(NamedTuple):
    """Equal decisions within a minute: the latest, and on how many other subjects."""

    row: DecisionRow
    others: int


class Present(NamedTuple):
    """What the page shows."""

    totals: totals.Totals
    campaigns: list[CampaignRow]
    campaigns_total: int
    keys: KeyPage
    kinds: dict[str, list[str]]
    applied: dict[str, tuple[Action, Action]]
    in_force: dict[Action, int]
    decided: list[Decided]
    work: Work | None
    budget: Budget | None


@page("/", right="read")
async def now(request: Request) -> Response:
    """What is open now, the most severe and expensive first."""
    who, number = viewer(request), page_number(request.query_params)
    found = await blocking(_present, console(request), who, number)
    return render(request, "now.html", place="now", **_context(found, number))


@page("/events", right="read")
async def events(request: Request) -> Response:
    """The first page's content, each time that it changes (server-sent events)."""
    who = viewer(request)
    if _streams[who.name] >= _STREAMS:
        raise Refused(429, "Too many pages of yours are live: close some, or load this one again.")
    return StreamingResponse(
        _stream(request, who),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _stream(request: Request, who: Viewer) -> AsyncIterator[bytes]:
    services, known = console(request), session(request)
    sent, changes, asked = "", -1, time.monotonic()
    _streams[who.name] += 1
    try:
        while not await request.is_disconnected():
            if time.monotonic() - asked >= _ALIVE:
                asked = time.monotonic()
                if known is None or not await known.alive():
                    return
                yield b": \n\n"
            tick = int(time.monotonic() / _TICK)
            seen = await services.live(("version", tick), services.view.version)
            if seen != changes:
                changes = seen
                text = await services.live((who.tenants, seen), partial(_live, services, who))
                if text != sent:
                    yield _event("now", text)
                    sent = text
            await asyncio.sleep(_TICK)
    finally:
        _streams[who.name] -= 1
        if not _streams[who.name]:
            del _streams[who.name]


def _event(name: str, text: str) -> bytes:
    lines = "".join(f"data: {line}\n" for line in text.splitlines())
    return f"event: {name}\n{lines}\n".encode()


def _live(services: Console, who: Viewer) -> str:
    """The content of the page as HTML, the same for all viewers of the same tenants."""
    template = services.templates.get_template(_TEMPLATE)
    return template.render(**_context(_present(services, who, 1), 1))


def _context(found: Present, number: int) -> dict[str, Any]:
    return {"now": found, "number": number, "size": _ROWS}


def _present(services: Console, who: Viewer, number: int) -> Present:
    view, tenants, at = services.view, who.tenants, time.time()
    campaigns, campaigns_total = list_campaigns(view, tenants, limit=_CAMPAIGNS)
    keys = flagged_keys(view, tenants, limit=_ROWS, offset=(number - 1) * _ROWS)
    shown = [row.key for row in keys.rows]
    try:
        control = services.control.read()
        work: Work | None = _work(services, who, at)
    except MonitorError:  # the health line says it; what the view has is shown
        control, work = Control(), None
    return Present(
        totals=totals.totals(view, tenants),
        campaigns=campaigns,
        campaigns_total=campaigns_total,
        keys=keys,
        kinds=totals.kinds_on(view, shown),
        applied=totals.applied_to(view, shown, at),
        in_force=count_in_force(view, tenants, at),
        decided=_together(decisions(view, tenants, limit=_LATELY * _TOGETHER)),
        work=work,
        budget=None if tenants else _budget(services, control, at),
    )


def _together(rows: Iterable[DecisionRow]) -> list[Decided]:
    found = list[Decided]()
    for row in rows:
        last = found[-1] if found else None
        if last and last.row.at - row.at < _MINUTE and _alike(last.row) == _alike(row):
            found[-1] = Decided(last.row, last.others + 1)
        else:
            found.append(Decided(row, 0))
    return found[:_LATELY]


def _alike(row: DecisionRow) -> tuple[str, ...]:
    return row.who, row.kind, row.action, row.decided


def _work(services: Console, who: Viewer, at: float) -> Work:
    again, again_total = totals.raised_again(services.view, who.tenants, limit=_WAITING)
    rows = services.cases.store.rows()
    own = theirs(services.view, who, {row.subject for row in rows}) if who.tenants else None
    rows = [row for row in rows if own is None or row.subject in own]
    appeals = waiting(rows, services.settings.cases.answer_days)
    return Work(
        again=again,
        again_total=again_total,
        appeals=appeals[:_WAITING],
        appeals_total=len(appeals),
        overdue=sum(each.is_overdue(at) for each in appeals),
        proposals=approve.waiting(services, who),
        cases=sum(row.status == "open" for row in rows),
    )


def _budget(services: Console, control: Control, at: float) -> Budget:
    keys = services.active_keys()
    allowed = keys * len(ALL_DETECTORS) * services.settings.detection.warning
    return Budget(
        keys=keys,
        allowed=allowed,
        raised=totals.warned_lately(services.view, at),
        withdrawn=withdrawn_lately(control, at).total() * _DAY / MONTH,
    )
