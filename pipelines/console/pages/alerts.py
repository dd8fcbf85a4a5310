"""Alerts: the list, one alert with its deliveries, and what a person finds about it."""

from __future__ import annotations

import re
import time
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from monitor.alerting.alerts import SEVERITIES, Alert
from monitor.errors import InputError
from monitor.identity import is_pseudonym
from monitor.store.alert_book import Silence
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
from pipelines.console.pages.decide import Held, held
from pipelines.console.view.alerts import (
    AlertMessage,
    AlertRow,
    AlertState,
    alert_messages,
    find_alert,
    list_alerts,
    parts_of,
)
from pipelines.console.words import path
from pipelines.inspect.withdrawal import Behaviours
from pipelines.notify.incidents.words import evidence
from pipelines.notify.listing import AlertView, read_alert
from pipelines.notify.silencing import KINDS, end_silence, silence

page = Pages()
_ROWS = 50  # on a page
_STATES: tuple[AlertState, ...] = ("open", "resolved", "withdrawn", "any")
_ID = re.compile("a_[0-9a-f]{20}")
_CAMPAIGN = re.compile("c_[0-9a-f]{4,32}")


class Shown(NamedTuple):
    """An alert as a page shows it.

    Attributes:
        current: as Redis has it; `None` once it is forgotten there.
        row: as the view has it; `None` before it is there.
        held: what applies to its subject; `None` for a campaign.
        open_case: on its subject; `None` without one.
        hidden: whether it is about keys of other tenants, too: then nothing that people wrote, and
            nothing that counts these keys, is shown.
    """

    id: str
    current: AlertView | None
    row: AlertRow | None
    messages: list[AlertMessage]
    parts: list[AlertRow]
    held: Held | None
    open_case: str | None
    hidden: bool

    @property
    def subject(self) -> str:
        """What it is about."""
        if self.current is not None:
            return self.current.alert.subject.id
        assert self.row is not None
        return self.row.subject


@page("/alerts", right="read")
async def alerts(request: Request) -> Response:
    """Alerts, the most severe first, and the silences."""
    query, who = request.query_params, viewer(request)
    state, least, kind = (
        query.get("state", "open"),
        query.get("least", "info"),
        query.get("kind", ""),
    )
    if state not in _STATES or least not in SEVERITIES or (kind and kind not in KINDS):
        raise Refused(404, console(request).words("alerts.no_filter"))
    number = page_number(query)
    found = await blocking(
        list_alerts,
        console(request).view,
        who.tenants,
        state=state,
        least=least,
        kinds=[kind] if kind else [],
        order="severity" if state == "open" else "newest",
        limit=_ROWS,
        offset=_ROWS * (number - 1),
    )
    return render(
        request,
        "alerts.html",
        place="alerts",
        found=found,
        state=state,
        least=least,
        kind=kind,
        kinds=KINDS,
        page=number,
        size=_ROWS,
        silences=await blocking(_silences, console(request), who),
        now=time.time(),
    )


@page("/alerts/{alert}", right="read")
async def alert(request: Request) -> Response:
    """One alert: evidence, decision, states, and what each receiver got when."""
    shown = await blocking(_shown, console(request), viewer(request), _id(request))
    if shown is None:
        raise Refused(404, console(request).words("alert.unknown"))
    now = shown.current.alert if shown.current is not None else None
    return render(
        request,
        "alert.html",
        place="alerts",
        shown=shown,
        alert=now or shown.row,
        evidence=evidence(now) if now is not None and not shown.hidden else {},
    )


@page("/alerts/{alert}/withdraw", right="decide", methods=("POST",))
async def withdraw(request: Request) -> Response:
    """Declare an alert to be no attack."""
    id, form = _id(request), await fields(request)
    found = await blocking(_own, console(request), viewer(request), id)
    await blocking(_withdraw, console(request), found, viewer(request).name, form.text("why"))
    notify(request, console(request).words("alert.withdrawn"))
    return see_other(f"/alerts/{id}")


@page("/alerts/{alert}/reinstate", right="decide", methods=("POST",))
async def reinstate(request: Request) -> Response:
    """Take a withdrawal back."""
    id, form = _id(request), await fields(request)
    await blocking(_own, console(request), viewer(request), id)
    who = viewer(request).name
    await blocking(console(request).control.reinstate, id, who, form.text("why"))
    notify(request, console(request).words("alert.reinstated"))
    return see_other(f"/alerts/{id}")


@page("/silences", right="decide", methods=("POST",))
async def silence_alerts(request: Request) -> Response:
    """Deliver no alerts on a subject or of a kind for a while."""
    form, who = await fields(request), viewer(request)
    subject, kind = form.text("subject"), form.text("kind")
    known = is_pseudonym(subject) or _ID.fullmatch(subject) or _CAMPAIGN.fullmatch(subject)
    if not (known or (kind and not subject)):  # it may be a raw name, which nothing may keep
        raise InputError(console(request).words("silence.nothing"))
    await blocking(_check_silence, console(request), who, "" if kind else subject)
    await blocking(
        silence, console(request).book, subject, kind, form.seconds(), who.name, form.text("why")
    )
    notify(request, console(request).words("silence.done"))
    return see_other(path(subject) or "/alerts")


@page("/silences/{silence}/end", right="decide", methods=("POST",))
async def end(request: Request) -> Response:
    """End a silence before its time."""
    form, who, id = await fields(request), viewer(request), request.path_params["silence"]
    known = {each.id: each for each in await blocking(_silences, console(request), who)}
    if id not in known:
        raise Refused(404, console(request).words("silence.unknown"))
    await blocking(_check_silence, console(request), who, known[id].subject)
    await blocking(end_silence, console(request).book, id, who.name, form.text("why"))
    notify(request, console(request).words("silence.ended"))
    return see_other("/alerts")


def _shown(console: Console, viewer: Viewer, id: str) -> Shown | None:
    current = read_alert(console.book, console.control.read(), id, time.time())
    row = find_alert(console.view, id, viewer.tenants)
    if row is None and (current is None or viewer.tenants):
        return None
    subject = current.alert.subject.id if current is not None else row.subject if row else ""
    hidden = subject not in tenants.theirs(console.view, viewer, [subject])
    return Shown(
        id,
        current,
        row,
        alert_messages(console.view, [id], viewer.tenants),
        parts_of(console.view, id, viewer.tenants),
        None if subject.startswith("c_") else held(console, subject),
        None if hidden else console.cases.store.open_case_of(subject),
        hidden,
    )


def _own(console: Console, viewer: Viewer, id: str) -> Alert:
    """An alert in Redis on which this person may act, with all of its members."""
    found = console.book.read([id]).get(id)
    if found is None:
        raise InputError(
            f"There is no alert {id} that is open or ended in the last 3 days: nothing to change."
        )
    tenants.check(console.view, viewer, [found.alert.subject.id, *found.alert.subject.members])
    return found.alert


def _withdraw(console: Console, alert: Alert, who: str, why: str) -> None:
    requests, members = Behaviours(console.settings).of(alert)
    what = alert.id, alert.subject.id, alert.kind, alert.severity
    console.control.withdraw(*what, who, why, requests=requests, members=members)


def _silences(console: Console, viewer: Viewer) -> list[Silence]:
    """The silences that this person may see: not those of a kind, or of others' subjects."""
    found = console.book.silences(time.time())
    if not viewer.tenants:
        return found
    subjects = {each.subject: _subject_of(console, each.subject) for each in found if each.subject}
    visible = tenants.theirs(console.view, viewer, subjects.values())
    return [each for each in found if subjects.get(each.subject) in visible]


def _subject_of(console: Console, id: str) -> str:
    """What an alert is about, or the subject itself."""
    found = console.book.read([id]).get(id) if _ID.fullmatch(id) else None
    return found.alert.subject.id if found is not None else id


def _check_silence(console: Console, viewer: Viewer, subject: str) -> None:
    """A kind is of all tenants; an alert belongs to the tenants of all of its members."""
    if not viewer.tenants:
        return
    if not subject:
        raise Refused(403, console.words("silence.not_yours"))
    if _ID.fullmatch(subject):
        _own(console, viewer, subject)
    else:
        tenants.check(console.view, viewer, [subject])


def _id(request: Request) -> str:
    found: str = request.path_params["alert"]
    if not _ID.fullmatch(found):
        raise Refused(404, console(request).words("alert.unknown"))
    return found
