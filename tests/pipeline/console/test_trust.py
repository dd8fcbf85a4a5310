"""What every page of the console must refuse, and what every response must have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

import pytest
from httpx2 import Response
from starlette.routing import Route

from monitor.config import Settings
from pipelines.console.access import csrf
from pipelines.console.access.headers import HEADERS
from pipelines.console.access.viewer import RIGHTS, ROLES, Right, Viewer
from pipelines.console.app import PAGES
from pipelines.console.assets import asset
from tests.support.console import OpenPages, Pages, opening

OPEN = {"/sign-in", "/healthz", "/readyz"}  # without a session
READ_POSTS = {"/search", "/sign-in", "/sign-out"}  # change no state of the monitor
STREAMS = {"/events"}
SUBJECT, CASE = "k_" + "1" * 24, "case_0123456789abcdef"


def guarded() -> Iterator[tuple[Route, str, Right | None]]:
    for pages in PAGES:
        for route, right in zip(pages, pages.rights, strict=True):
            yield route, "POST" if "POST" in (route.methods or ()) else "GET", right


ROUTES = list(guarded())


def path_of(route: Route, value: str = SUBJECT) -> str:
    return re.sub(r"\{[^}]+\}", value, route.path)


def send(pages: Pages, route: Route, method: str, *, token: str = "", **headers: str) -> Response:
    body = {csrf.FIELD: token} if token else None
    data = body if method == "POST" else None
    return pages.client.request(method, path_of(route), data=data, headers=headers)


def test_only_pages_for_signing_on_and_probes_are_open() -> None:
    assert {route.path for route, _, right in ROUTES if right is None} <= OPEN
    weak = {route.path for route, method, right in ROUTES if (method, right) == ("POST", "read")}
    assert weak | {"/sign-in"} <= READ_POSTS
    assert len(ROUTES) > 20


def test_every_page_refuses_who_is_not_signed_on_or_has_a_lower_role(
    open_pages: OpenPages,
) -> None:
    pages = open_pages("admin")
    session = pages.session
    assert session is not None
    for route, method, right in ROUTES:
        if right is None:
            continue
        pages.session = None
        answer = send(pages, route, method, token=session.csrf)
        where = answer.headers.get("location", "")
        assert answer.status_code == 401 or where.startswith("/sign-in"), route.path
        pages.session = session
        for role in ROLES[: RIGHTS.index(right)]:
            session.viewer = Viewer(role, role)
            answer = send(pages, route, method, token=session.csrf)
            assert answer.status_code == 403, (route.path, role)


def test_every_form_needs_the_token_of_its_own_session(open_pages: OpenPages) -> None:
    pages = open_pages("admin")
    assert pages.session is not None
    token = pages.session.csrf
    for route, method, right in ROUTES:
        if method != "POST" or right is None:
            continue
        pages.session.viewer = Viewer(route.path, "admin")  # each has its own rate
        for wrong in ("", csrf.token_of("another session")):
            assert send(pages, route, method, token=wrong).status_code == 403, route.path
    foreign = {"sec-fetch-site": "same-site"}
    assert pages.client.post("/sign-out", data={csrf.FIELD: token}, headers=foreign).is_error
    assert list(pages.console.control.audit()) == []


@pytest.mark.parametrize("value", [SUBJECT, "..%2F..%2F%00%3Cscript%3E'" + "9" * 4000])
def test_every_page_answers_with_all_headers_and_never_fails(
    open_pages: OpenPages, value: str
) -> None:
    pages = open_pages("admin")
    assert pages.session is not None
    paths = [path_of(route, value) for route, method, _ in ROUTES if method == "GET"]
    names = HEADERS.keys() | {"cache-control"}
    for path in chain(
        paths, (asset("console.css"), "/static/x", "/unknown", "/static/%2e%2e/app.py")
    ):
        if path in STREAMS:
            continue
        pages.session.viewer = Viewer(path, "admin")
        answer = pages.client.get(path, headers={"host": "localhost"})
        assert answer.status_code < 500 or path in OPEN, path
        assert answer.headers.keys() >= names, path
        policy = answer.headers["content-security-policy"]
        assert policy == HEADERS["content-security-policy"], path
        kept = answer.headers["cache-control"] != "no-store"
        assert kept == answer.url.path.startswith("/static/"), path
        assert "<script>" not in answer.text
    assert "immutable" in pages.client.get(asset("console.css")).headers["cache-control"]


def test_request_for_another_host_or_with_a_strange_body_is_refused(
    open_pages: OpenPages,
) -> None:
    pages = open_pages("admin")
    client, form = pages.client, {"content-type": "application/x-www-form-urlencoded"}
    for host in ("evil.example", "localhost.evil.example", "a@localhost", "localhost:b", ""):
        assert client.get("/audit", headers={"host": host}).status_code == 421, host
    assert client.get("/audit", headers={"host": "LOCALHOST:6069"}).status_code == 200
    assert client.get("/audit", headers={"host": "[::1]:6069"}).status_code == 200
    large = b"why=" + b"x" * (1 << 20)
    for body in (large, b"&" * 1_000):
        assert client.post("/sign-out", content=body, headers=form).status_code == 413
    session, pages.session = pages.session, None
    assert client.post("/sign-in", content=large[:20_000], headers=form).status_code == 413
    pages.session = session
    assert client.post("/sign-out", files={"csrf": b"x"}).status_code == 415
    assert client.post("/sign-out", json={}).status_code == 415


def test_export_of_the_audit_refuses_a_filter_before_it_begins(open_pages: OpenPages) -> None:
    assert open_pages("viewer").get("/audit.jsonl", since="tomorrow").status_code == 422


def test_one_person_cannot_ask_without_end(settings: Settings) -> None:
    console = settings.console.model_copy(update={"requests_per_second": 1.0})
    with opening(settings.model_copy(update={"console": console})) as open_pages:
        pages = open_pages("viewer")
        answers = [pages.client.get("/unknown") for _ in range(7)]
    assert [each.status_code for each in answers[:5]] == [404] * 5
    assert answers[-1].status_code == 429
    assert answers[-1].headers["retry-after"] == "1"
