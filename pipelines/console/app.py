"""The web application: all pages, and what every request passes through."""

from __future__ import annotations

import logging
from functools import partial
from http import HTTPStatus
from importlib import resources

from jinja2 import StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

from monitor.config import Settings
from monitor.errors import ConfigError, EvidenceError, InputError, StoreError
from monitor.evidence.bundle.timestamp import TimestampError
from monitor.store.alert_book import AlertBook
from monitor.store.control import ControlStore
from monitor.store.redis import RedisStore
from pipelines.console import words
from pipelines.console.access.gate import Gate, SignOn
from pipelines.console.assets import asset
from pipelines.console.casework import Casework
from pipelines.console.health import Health
from pipelines.console.live import Once
from pipelines.console.ordinary import Kept, kept_ordinary
from pipelines.console.page import Console, Pages, render
from pipelines.console.pages import (
    act,
    alerts,
    approvals,
    audit,
    campaign,
    decide,
    health,
    key,
    now,
    search,
    sign_in,
    switches,
)
from pipelines.console.pages.cases import appeals, case, exports
from pipelines.console.pages.sign_in import to_sign_in
from pipelines.console.view.database import View
from pipelines.console.view.now import active_keys

log = logging.getLogger(__name__)
_HERE = resources.files(__package__)
PAGES: tuple[Pages, ...] = (
    act.page,
    alerts.page,
    appeals.page,
    approvals.page,
    audit.page,
    campaign.page,
    case.page,
    decide.page,
    exports.page,
    health.page,
    now.page,
    key.page,
    search.page,
    sign_in.page,
    switches.page,
)


def services(settings: Settings) -> Console:
    """What the pages work with."""
    store = RedisStore(settings.redis_url, settings.record_seconds)
    templates = Jinja2Templates(str(_HERE / "templates"))
    templates.env.trim_blocks = templates.env.lstrip_blocks = True
    templates.env.undefined = StrictUndefined
    templates.env.filters |= words.FILTERS
    english = words.read()
    templates.env.filters["money"] = partial(words.money, currency=settings.console.currency)
    signs = settings.cases.key_file is not None
    priced = bool(settings.console.price or settings.console.prices)
    templates.env.globals |= {"t": english, "asset": asset, "priced": priced, "signs": signs}
    view = View(settings.console.view_file)
    return Console(
        settings=settings,
        view=view,
        control=ControlStore(settings.redis_url),
        book=AlertBook(settings.redis_url),
        store=store,
        templates=templates,
        words=english,
        cases=Casework(settings),
        ordinary=kept_ordinary(store, settings),
        health=Health(settings, view, english),
        live=Once(),
        active_keys=Kept(lambda: active_keys(view)),
    )


def application(console: Console, sign_on: SignOn) -> Starlette:
    """The application."""
    app = Starlette(
        routes=[
            *(route for pages in PAGES for route in pages),
            Mount("/static", StaticFiles(directory=str(_HERE / "static")), name="static"),
        ],
        middleware=[Middleware(Gate, sign_on=sign_on, settings=console.settings.console)],
        exception_handlers={
            HTTPException: _refused,
            InputError: _wrong_input,
            StoreError: _away,
            **dict.fromkeys((ConfigError, EvidenceError, TimestampError), _not_possible),
        },
    )
    app.state.console, app.state.sign_on = console, sign_on
    return app


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 401:
        return to_sign_in(request)
    status = error.status_code
    is_own = error.detail != HTTPStatus(status).phrase  # the phrase is Starlette's
    sentence = error.detail if is_own else request.app.state.console.words("refused.no_page")
    return render(request, "refused.html", status, sentence=sentence)


async def _wrong_input(request: Request, error: Exception) -> Response:
    return render(request, "refused.html", 422, sentence=str(error))


async def _away(request: Request, error: Exception) -> Response:
    log.error("store_failed reason=%r", str(error))
    sentence = request.app.state.console.words("refused.away")
    return render(request, "refused.html", 503, sentence=sentence)


async def _not_possible(request: Request, error: Exception) -> Response:
    """A setting or a service is missing, such as the key that signs cases."""
    return render(request, "refused.html", 409, sentence=str(error))
