"""A browser on the console, with a real worker, decision service and gateway.

The tests run in this order, each on what the one before it left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from monitor.evidence.bundle.files import read_bundle
from monitor.evidence.bundle.verify import verify_bundle
from monitor.evidence.ring import load_ring
from monitor.store.alert_book import AlertBook
from monitor.store.control import ControlStore
from pipelines.notify.incidents.links import Links
from tests.support.browser import Visitor, running_browser
from tests.support.console_site import LIMIT, Site, proxy_before, running_site

WHY = "INC-7"
Visit = Callable[[str], Page]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as found:
        yield found


@pytest.fixture
def visit(site: Site, browser: Browser) -> Iterator[Visit]:
    """Sign somebody on. No script may fail, and nothing may be asked of another host."""
    visitors = []

    def sign_on(name: str) -> Page:
        visitors.append(Visitor(browser, site.console.url))
        visitors[-1].sign_on(name, site.tokens[name])
        return visitors[-1].page

    yield sign_on
    for each in visitors:
        each.close()
    assert [trouble for each in visitors for trouble in each.troubles] == []


def test_admin_lets_gateways_enforce_what_people_decide(site: Site, visit: Visit) -> None:
    page = visit("admin")
    page.goto("/switches")
    shadow = page.get_by_role("region", name="Shadow mode")
    shadow.get_by_label("Kind of alert").select_option("operator")
    shadow.get_by_label("Off: enforce decisions").check()
    shadow.get_by_role("button").click()
    page.get_by_label("Until it is changed").check()
    confirm(page, "Set the switch")
    assert ControlStore(site.settings.redis_url).read().switches["shadow:operator"].who == "admin"


def test_analyst_blocks_members_of_a_campaign(site: Site, visit: Visit) -> None:
    assert site.status(site.monitored.key) == 200
    watching, page = visit("viewer"), visit("analyst")
    page.get_by_role("link", name=site.monitored.campaign[:8]).first.click()
    expect(page.get_by_role("heading", name="12 coordinated keys")).to_be_visible()
    expect(page.locator("main")).to_contain_text("each prompt about once, as from a list")
    chosen = select(page, site.monitored.pseudonym, LIMIT)
    page.get_by_label("Action").select_option("block")
    page.get_by_role("button", name="Preview selected").click()
    expect(page.get_by_role("heading", name=f"Block {LIMIT} subjects")).to_be_visible()
    hit = page.get_by_role("region", name="Who would be hit")
    assert set(links_to(hit, "/keys/")) == chosen
    confirm(page, f"Block {LIMIT} subjects")
    site.answers(site.monitored.key, 403)
    assert site.status("a key of somebody else") == 200
    expect(watching.locator("main")).to_contain_text(f"{LIMIT} blocked")  # without a reload


def test_analyst_lifts_the_block_of_one_key(site: Site, visit: Visit) -> None:
    page = visit("analyst")
    page.get_by_role("searchbox").fill(site.monitored.key)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/keys/{site.monitored.pseudonym}")
    page.get_by_role("region", name="Act").get_by_text("Delete all decisions").click()
    confirm(page, "Delete")
    site.answers(site.monitored.key, 200)


def test_more_keys_than_one_person_may_block_wait_for_another(site: Site, visit: Visit) -> None:
    page = visit("analyst")
    page.goto(f"/campaigns/{site.monitored.campaign}")
    page.get_by_label("Action").select_option("block")
    page.get_by_role("button", name="Preview all").click()
    page.get_by_label("Reason").fill(WHY)
    page.get_by_role("button", name=re.compile("Propose")).click()
    page.wait_for_url("**/approvals/*")
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    assert site.status(site.monitored.key) == 200
    second = visit("second")
    second.goto("/approvals")
    second.get_by_role("link", name=re.compile("Block")).click()
    second.locator("#approve-why").fill(WHY)
    second.get_by_role("button", name="Approve").click()
    site.answers(site.monitored.key, 403)


def test_analyst_opens_a_case_and_exports_it(site: Site, visit: Visit, tmp_path: Path) -> None:
    page = visit("analyst")
    page.goto(f"/campaigns/{site.monitored.other_campaign}")
    page.get_by_text("Open a case").first.click()
    confirm(page, "Open a case")
    page.wait_for_url("**/cases/case_*")
    page.get_by_text("Export", exact=True).click()
    confirm(page, "Export a signed bundle")
    expect(page.get_by_text("The bundle is as it was signed.")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the bundle").click()
    download.value.save_as(tmp_path / "case.zip")
    public = site.settings.cases.public_keys
    assert public is not None
    assert verify_bundle(read_bundle(tmp_path / "case.zip"), load_ring([public])).ok


def test_analyst_answers_an_appeal(site: Site, visit: Visit) -> None:
    page = visit("analyst")
    page.goto(f"/cases/{site.monitored.case}")
    page.get_by_text("Write a letter").click()
    page.locator("#letter-subject").fill(site.monitored.pseudonym)
    page.locator("#letter-action").select_option("block")
    page.get_by_role("button", name="Write the letter").click()
    reference = re.search(r"R-[\w-]{14}", page.locator("#notices").inner_text())
    assert reference is not None
    page.goto("/appeals")
    page.get_by_label("Reference").fill(reference[0])
    page.get_by_label("The customer's answer").fill("We test our own tutor.")
    page.get_by_role("button", name="Record the appeal").click()
    appeal = page.get_by_role("region", name=f"Appeal {reference[0]}")
    appeal.get_by_label("Overturn").check()
    appeal.get_by_label("Reason").fill(WHY)
    appeal.get_by_role("button").click()
    expect(page.locator("#notices")).to_contain_text("overturned")
    site.answers(site.monitored.key, 200)


def test_viewer_reads_and_changes_nothing(site: Site, visit: Visit) -> None:
    page = visit("viewer")
    for path in site.paths():
        page.goto(path)
        forms = page.locator("form[method=post]").evaluate_all("all => all.map(f => f.action)")
        assert {re.sub("^.*/", "/", each) for each in forms} <= {"/search", "/sign-out"}, path
    token = page.locator("input[name=csrf]").first.get_attribute("value")
    path = f"/decisions/{site.monitored.pseudonym}/decide"
    form = {"csrf": token or "", "action": "block", "for": "1", "for_unit": "hours", "why": WHY}
    assert page.request.post(path, form=form).status == 403
    assert site.status(site.monitored.key) == 200


def test_keyboard_and_colours(site: Site, visit: Visit) -> None:
    page = visit("viewer")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("j")
    expect(page.locator("main tbody a").first).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Switch between light and dark").click()
    page.keyboard.press("g")
    page.keyboard.press("d")
    expect(page.get_by_role("heading", name="Decisions", level=1)).to_be_visible()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.locator("footer")).to_contain_text("Times are in your zone")
    assert "UTC" not in "".join(page.locator("main time").all_text_contents())


def test_focus_stays_on_the_column_that_sorts(site: Site, visit: Visit) -> None:
    page = visit("analyst")
    page.goto(f"/campaigns/{site.monitored.campaign}")
    header = page.get_by_role("columnheader", name="Requests")
    for order in ("descending", "ascending"):
        header.get_by_role("link").focus()
        page.keyboard.press("Enter")
        expect(header).to_have_attribute("aria-sort", order)
        expect(header.get_by_role("link")).to_be_focused()


def test_links_of_notifications_lead_to_their_subject(site: Site, visit: Visit) -> None:
    page = visit("viewer")
    links = Links(console=site.console.url)
    book = AlertBook(site.settings.redis_url)
    alerts = {each.alert.subject.id: each.alert for each in book.entries()}
    for subject in (site.monitored.campaign, site.monitored.pseudonym):
        pager = f"<a href='{links.of(alerts[subject])['console_url']}'>See</a>"
        # On another site: the browser must send the cookie all the same.
        page.route("http://pager.example/", answer_with(pager))
        page.goto("http://pager.example/")
        page.get_by_role("link").click()
        expect(page.locator("main")).to_contain_text(subject)


def test_audit_names_who_did_what(site: Site, visit: Visit) -> None:
    page = visit("viewer")
    page.goto(f"/audit?subject={site.monitored.pseudonym}")
    rows = page.get_by_role("row").filter(has_text=WHY)
    expect(rows.filter(has_text="analyst").first).to_be_visible()
    expect(rows.filter(has_text="second").first).to_be_visible()


def test_axe_finds_no_serious_fault(site: Site, browser: Browser) -> None:
    visitor = Visitor(browser, site.console.url)
    visitor.sign_on("admin", site.tokens["admin"])
    faults = [fault for path in site.paths() for fault in visitor.faults(path)]
    visitor.close()
    assert faults == []


def test_proxy_of_the_documentation_names_the_person(site: Site, tmp_path: Path) -> None:
    with proxy_before(site.console, tmp_path) as proxy, httpx.Client() as client:
        forged = {"X-Forwarded-Email": "admin", "X-Forwarded-Groups": "leads"}
        assert "Sign in" in client.get(f"{site.console.url}/sign-in", headers=forged).text
        proxy.signed_on = False
        refused = client.get(f"{proxy.url}/audit?who=admin", headers=forged)
        assert refused.headers["location"].endswith("/oauth2/start?rd=/audit?who=admin")
        proxy.signed_on = True
        page = client.get(f"{proxy.url}/", headers=forged).text
        assert "grace@example.com" in page
        assert "Analyst" in page


def select(page: Page, first: str, count: int) -> set[str]:
    """Select keys of the table of members; those that are selected."""
    names = [first, *(key for key in links_to(page.locator("table"), "/keys/k_") if key != first)]
    chosen = list(dict.fromkeys(names))[:count]
    for each in chosen:
        page.get_by_role("checkbox", name=f"Select {each}").check()
    return set(chosen)


def links_to(part: Locator, folder: str) -> list[str]:
    """What the links of a part of a page name, of those into a folder."""
    links = part.locator(f"a[href^='{folder}']").evaluate_all("all => all.map(a => a.pathname)")
    return [each.rpartition("/")[2] for each in links]


def answer_with(text: str) -> Callable[[Route], None]:
    """Answers a request of a browser with a page."""
    return lambda route: route.fulfill(body=text, content_type="text/html")


def confirm(page: Page, button: str) -> None:
    """Give the reason, and send the form."""
    form = page.locator("form").filter(has=page.get_by_role("button", name=button))
    form.get_by_label("Reason").fill(WHY)
    form.get_by_role("button", name=button).click()
