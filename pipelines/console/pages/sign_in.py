"""Sign on with a name and a token, and sign out."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from pipelines.console.access import csrf
from pipelines.console.access.sign_on import SignOn
from pipelines.console.page import Pages, Refused, console, render, see_other, session, viewer

page = Pages()
PATH = "/sign-in"

# A path of this console: a second slash at the start, or a backslash, leads to another host.
_OWN = re.compile(r"/(?:[\w.~%!$&'()*+,;=:@?-][\w./~%!$&'()*+,;=:@?-]*)?", re.ASCII)


@page(PATH, right=None)
async def sign_in(request: Request) -> Response:
    """The form, or the next page for a person who is signed on already."""
    after = own_path(request.query_params.get("next", ""))
    if session(request) is not None:
        return see_other(after)
    return _form(request, after)


@page(PATH, right=None, methods=("POST",))
async def sign_in_posted(request: Request) -> Response:
    """Sign on with the form."""
    form = await request.form()
    name, token, after, presented = (
        str(form.get(field, "")) for field in ("name", "token", "next", csrf.FIELD)
    )
    sign_on = _sign_on(request)
    if not sign_on.is_form_valid(request, presented):
        return _form(request, own_path(after), "sign_in.late", 403)
    cookie = await sign_on.sign_in(request, name, token)
    if cookie is None:
        return _form(request, own_path(after), "sign_in.wrong", 403)
    response = see_other(own_path(after))
    response.headers.append("set-cookie", cookie)
    return response


@page("/sign-out", right="read", methods=("POST",))
async def sign_out(request: Request) -> Response:
    """End this session, or all of this person."""
    sign_on = _sign_on(request)
    if (await request.form()).get("everywhere"):
        await sign_on.end_all(viewer(request))
    await sign_on.end(request)
    proxy = console(request).settings.console.proxy_sign_out
    # A form may lead to this site only, also by a redirect of the proxy; a refresh is no form.
    refresh = {"refresh": f"0; url={proxy}"}
    response = PlainTextResponse("", headers=refresh) if proxy else see_other(PATH)
    response.headers.append("set-cookie", sign_on.no_cookie())
    response.headers["clear-site-data"] = '"storage"'
    return response


def to_sign_in(request: Request) -> Response:
    """Where a request goes that needs a session and has none."""
    if request.headers.get("hx-request"):
        return PlainTextResponse("", 401, {"hx-redirect": PATH})
    if request.method != "GET" or request.headers.get("accept") == "text/event-stream":
        return PlainTextResponse("Nobody is signed on.\n", 401)
    query = f"?{request.url.query}" if request.url.query else ""
    return see_other(f"{PATH}?{urlencode({'next': request.url.path + query})}")


def own_path(text: str) -> str:
    """A path of this console that a client asks for; the first page for anything else."""
    return text if _OWN.fullmatch(text) else "/"


def _form(request: Request, after: str, error: str = "", status: int = 200) -> Response:
    token, cookie = _sign_on(request).begin_form(request)
    response = render(
        request,
        "sign_in.html",
        status,
        csrf_token=token,
        after=after,
        error=error,
        takes_tokens=_sign_on(request).takes_tokens,
    )
    response.headers.append("set-cookie", cookie)
    return response


def _sign_on(request: Request) -> SignOn:
    found = request.app.state.sign_on
    if not isinstance(found, SignOn):
        raise Refused(404, "Nobody can sign on here.")
    return found
