"""Attempts to sign on, and to act for somebody else, against the whole application."""

import re

import pytest
from argon2 import PasswordHasher
from starlette.testclient import TestClient

from monitor.config import Console, Settings
from pipelines.console import app as console_app
from pipelines.console.access import sign_on, users
from pipelines.console.access.session_store import IDLE_SECONDS, LONGEST_SECONDS
from pipelines.console.access.sign_on import SignOn
from pipelines.console.app import application, services
from pipelines.console.page import Pages, render, viewer
from pipelines.console.pages import sign_in

PROXY, ELSEWHERE = "10.0.0.5", "192.0.2.1"
EMAIL = {"X-Forwarded-Email": "carol@example.com"}
own = Pages()


@own("/own", right="read")
async def show_own(request):
    return render(request, "refused.html", sentence=f"You are {viewer(request).name}.")


class Site:
    """The application, with a clock that the test sets."""

    def __init__(self, settings, token, monkeypatch):
        self.now, self.token = 1_772_000_000.0, token
        monkeypatch.setattr(console_app, "PAGES", (sign_in.page, own))
        monkeypatch.setattr(sign_on, "_REFRESH_SECONDS", 0.0)
        self.app = application(services(settings), SignOn(settings, lambda: self.now))
        self.users = settings.console.users_file

    def browser(self, peer=ELSEWHERE, url="http://127.0.0.1"):
        return TestClient(self.app, url, follow_redirects=False, client=(peer, 1))

    def sign_in(self, browser, **changed):
        page = browser.get("/sign-in?next=/own")
        fields = {"csrf": csrf_of(page), "name": "alice", "token": self.token, "next": "/cases"}
        return browser.post("/sign-in", data=fields | changed)

    def is_on(self, browser):
        return browser.get("/sign-in").status_code == 303

    def holds(self, id, peer=ELSEWHERE):
        """Whether a session is found by an id in a cookie."""
        cookie = {"cookie": f"xm-console={id}"}
        return self.browser(peer).get("/sign-in", headers=cookie).status_code == 303


def csrf_of(page):
    return re.search(r'name="csrf" value="(\w+)"', page.text)[1]


@pytest.fixture
def site(redis_url, tmp_path, monkeypatch):
    quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(users, "_HASHER", quick)
    token, line = users.new_user("alice", "analyst")
    file = tmp_path / "users"
    file.write_text(f"{line}\nbob viewer * proxy\n")
    console = Console(
        view_file=tmp_path / "view.sqlite",
        users_file=file,
        proxy_addresses=[PROXY],
        proxy_roles_header="X-Forwarded-Groups",
        proxy_roles={"abuse": "analyst"},
        proxy_sign_out="/oauth2/sign_out?rd=%2F",
    )
    return Site(Settings(redis_url=redis_url, console=console), token, monkeypatch)


def test_token_signs_on_under_a_new_id_and_ends_the_session_before(site):
    browser = site.browser()
    assert browser.get("/own?who=ann").headers["location"] == "/sign-in?next=%2Fown%3Fwho%3Dann"
    planted = browser.get("/sign-in").cookies["xm-console"]
    assert site.sign_in(browser, token="xm_" + "a" * 43).status_code == 403
    assert not site.is_on(browser)
    answer = site.sign_in(browser)
    assert (answer.status_code, answer.headers["location"]) == (303, "/cases")
    first = browser.cookies["xm-console"]
    assert first != planted
    assert site.is_on(browser)
    assert site.holds(first)
    assert not site.holds(planted)
    form = csrf_of(site.browser().get("/sign-in"))  # of another cookie
    assert site.sign_in(site.browser(), csrf=form).status_code == 403


def test_session_ends_with_sign_out_here_and_everywhere(site):
    first, second = site.browser(), site.browser()
    for browser in (first, second):
        site.sign_in(browser)
    csrf = csrf_of(first.get("/own"))
    assert second.post("/sign-out", data={"csrf": csrf}).status_code == 403
    assert second.post("/sign-out").status_code == 403
    assert site.is_on(second)
    id = first.cookies["xm-console"]
    gone = first.post("/sign-out", data={"csrf": csrf, "everywhere": "yes"})
    assert "clear-site-data" in gone.headers
    assert gone.headers["refresh"] == "0; url=/oauth2/sign_out?rd=%2F"
    assert not site.holds(id)
    assert not site.is_on(second)


def test_session_ends_when_idle_too_old_or_the_user_changes(site):
    def signed_on():
        browser = site.browser()
        site.sign_in(browser)
        assert site.is_on(browser)
        return browser

    idle = signed_on()
    site.now += IDLE_SECONDS + 1
    assert not site.is_on(idle)
    old, began = signed_on(), site.now
    while site.now < began + LONGEST_SECONDS:
        assert site.is_on(old)
        site.now += IDLE_SECONDS - 1
    assert not site.is_on(old)
    removed = signed_on()
    before = site.users.read_text()
    site.users.write_text("bob viewer * proxy\n")
    assert not site.is_on(removed)
    site.users.write_text(before)
    assert site.is_on(removed)
    site.users.write_text(users.new_user("alice", "analyst")[1])  # a new token
    assert not site.is_on(removed)


def test_header_of_the_proxy_counts_from_its_address_only(site):
    groups = {"X-Forwarded-Groups": "abuse"}
    forged = site.browser(ELSEWHERE).get("/own", headers=EMAIL | groups)
    assert forged.headers["location"].startswith("/sign-in")
    assert "set-cookie" not in forged.headers
    assert site.browser(PROXY).get("/own", headers=EMAIL).status_code == 303  # no role
    proxied = site.browser(PROXY)
    page = proxied.get("/own", headers=EMAIL | groups)
    assert page.status_code == 200
    assert "carol@example.com" in page.text
    assert not site.holds(proxied.cookies["xm-console"])
    other = proxied.get("/own", headers={"X-Forwarded-Email": "bob"})  # a shared browser
    assert "bob" in other.text
    assert "carol@example.com" not in other.text


def test_sign_on_is_limited_and_hashes_nothing_then(site, monkeypatch):
    browser, hashed = site.browser(), []
    monkeypatch.setattr("pipelines.console.access.users.Users.verify", lambda *_: hashed.append(1))
    statuses = [site.sign_in(browser).status_code for _ in range(12)]
    assert statuses == [403] * 10 + [429] * 2
    assert len(hashed) == 10
    proxied = site.browser(PROXY)
    spoofed = [{"X-Forwarded-For": f"198.51.100.{i}, {ELSEWHERE}"} for i in range(2)]
    for headers in spoofed:  # the last address before the proxy counts, not what a client wrote
        proxied.headers.update(headers)
        assert site.sign_in(proxied).status_code == 429


def test_sign_on_leads_to_no_other_site():
    foreign = ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nX: 1", "\t//e.x"]
    for text in (*foreign, "javascript:alert(1)", "/ /evil", "/\u2215evil", ""):
        assert sign_in.own_path(text) == "/"
    assert sign_in.own_path("/keys/k_01?page=2&sort=-at") == "/keys/k_01?page=2&sort=-at"


def test_cookie_is_bound_to_the_host_where_connections_are_encrypted(redis_url, tmp_path):
    for chosen, start in (({"url": "https://console.example"}, "__Host-"), ({}, "xm-console=")):
        console = Console(view_file=tmp_path / "view.sqlite", **chosen)
        settings = Settings(redis_url=redis_url, console=console)
        app = application(services(settings), SignOn(settings))
        page = TestClient(app, "http://127.0.0.1").get("/sign-in")
        cookie = page.headers["set-cookie"]
        assert cookie.startswith(start)
        assert "HttpOnly; SameSite=Lax" in cookie
        assert "Path=/;" in cookie
        assert ("Secure" in cookie) == bool(chosen)
        assert ("strict-transport-security" in page.headers) == bool(chosen)
        assert "password" not in page.text  # nobody has a token
