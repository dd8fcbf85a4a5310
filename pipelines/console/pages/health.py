"""What probes ask: whether the process works, and whether its pages show what Redis has."""

from __future__ import annotations

import sqlite3
import time

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from pipelines.console.page import Pages, blocking, console
from pipelines.console.view.database import READ, View

page = Pages()

_LATE_SECONDS = 60.0  # age of the view after which the console is in trouble


def trouble(view: View, now: float) -> str:
    """Why the pages show less than they should; empty if nothing is wrong."""
    try:
        found = view.row("SELECT value FROM progress WHERE name = ?", (READ,))
    except sqlite3.Error as error:
        return f"The view cannot be read ({type(error).__name__})."
    if found is None:
        return "The reader has not read Redis yet."
    late = now - float(found[0])
    return f"The pages are {late:.0f} s old." if late > _LATE_SECONDS else ""


@page("/healthz", right=None)
async def healthz(_: Request) -> Response:
    """The process serves pages."""
    return PlainTextResponse("ok\n")


@page("/readyz", right=None)
async def readyz(request: Request) -> Response:
    """Its pages show what Redis had lately."""
    found = await blocking(trouble, console(request).view, time.time())
    return PlainTextResponse(f"{found or 'ready'}\n", 503 if found else 200)
