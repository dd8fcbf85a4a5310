"""Shadow mode, the kill switch and the caps: what is set, and what a change would do."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import Response

from monitor.alerting.enforcement import SHADOW_KINDS
from pipelines.console.actions.switches import effect, setting_of
from pipelines.console.forms import fields
from pipelines.console.page import (
    Pages,
    Refused,
    blocking,
    console,
    notify,
    render,
    see_other,
    viewer,
)
from pipelines.inspect.decisions import enforcement

page = Pages()


@page("/switches", right="read")
async def switches(request: Request) -> Response:
    """What is set, and forms to change it for those who may."""
    control = await blocking(console(request).control.read)
    setting = await blocking(console(request).store.shadow)
    return render(
        request,
        "switches.html",
        place="decisions",
        enforcement=enforcement(control, setting, time.time()),
        kinds=SHADOW_KINDS,
        may_set=_may_set(request),
    )


@page("/switches/preview", right="administer")
async def preview(request: Request) -> Response:
    """What a switch would change, with the form that sets it."""
    _check_may_set(request)
    query = request.query_params
    chosen = setting_of(query.get("name", ""), query.get("state", ""), query.get("kind", ""))
    found = await blocking(effect, console(request), chosen)
    return render(request, "switch.html", place="decisions", setting=chosen, effect=found)


@page("/switches", right="administer", methods=("POST",))
async def switch(request: Request) -> Response:
    """Set a switch."""
    _check_may_set(request)
    form = await fields(request)
    chosen = setting_of(form.text("name"), form.text("state"), form.text("kind"))
    until = None if form.is_set("forever") else time.time() + form.seconds()
    await blocking(
        console(request).control.switch,
        chosen.name,
        chosen.on,
        viewer(request).name,
        form.text("why"),
        kind=chosen.kind,
        until=until,
    )
    notify(request, console(request).words("switches.done"))
    return see_other("/switches")


def _may_set(request: Request) -> bool:
    """Switches are of all tenants, so nobody with only some of them may set one."""
    who = viewer(request)
    return who.may("administer") and not who.tenants


def _check_may_set(request: Request) -> None:
    if not _may_set(request):
        raise Refused(403, console(request).words("switches.not_yours"))
