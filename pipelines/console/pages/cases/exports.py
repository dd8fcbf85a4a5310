"""Exports: a case as a signed bundle, and the report on an incident."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from pipelines.console.casework import Bundle
from pipelines.console.forms import fields
from pipelines.console.page import (
    Pages,
    Refused,
    blocking,
    console,
    render,
    see_other,
    viewer,
)
from pipelines.console.pages.cases.case import own_case

page = Pages()
_TYPES = {"md": "text/markdown", "html": "text/html", "pdf": "application/pdf"}  # of a report


@page("/cases/{case}/exports", right="decide", methods=("POST",))
async def export(request: Request) -> Response:
    """Write a case as a bundle, which the case and the audit record."""
    case, form = await own_case(request), await fields(request)
    who = viewer(request).name
    bundle = await blocking(console(request).cases.export, case, who, form.text("why"))
    return see_other(f"/cases/{case}/exports/{bundle.export.manifest}")


@page("/cases/{case}/exports/{manifest}", right="decide")
async def exported(request: Request) -> Response:
    """What a bundle is, and what a verification of it found."""
    bundle = await _bundle(request)
    return render(request, "export.html", place="cases", bundle=bundle, report=bundle.report)


@page("/cases/{case}/exports/{manifest}/bundle.zip", right="decide")
async def bundle_file(request: Request) -> Response:
    """The bundle."""
    bundle = await _bundle(request)
    return FileResponse(bundle.file, media_type="application/zip", filename=f"{bundle.case}.zip")


@page("/cases/{case}/incident.{form}", right="decide")
async def incident(request: Request) -> Response:
    """The report on the case. It is a file to keep, never a page of the console."""
    case, form = await own_case(request), request.path_params["form"]
    if form not in _TYPES:
        raise Refused(404, console(request).words("export.no_form"))
    content = await blocking(console(request).cases.report, case, form)
    name = f"attachment; filename=incident-{case}.{form}"
    return Response(content, media_type=_TYPES[form], headers={"Content-Disposition": name})


async def _bundle(request: Request) -> Bundle:
    """The bundle in the path. The path names no file: it is looked up among those exported here."""
    case = await own_case(request)
    found = console(request).cases.bundle(case, request.path_params["manifest"])
    if found is None:
        raise Refused(404, console(request).words("export.gone"))
    return found
