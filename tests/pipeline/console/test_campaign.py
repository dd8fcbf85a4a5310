"""The page of a campaign, acting on many keys at once, and the second person."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest

from monitor.alerting.decisions import Decision
from monitor.alerting.enforcement import effective
from monitor.records.profile import DAY, RECORD, RECORD_VERSION, REQUESTS, SCALES
from monitor.store.base import Checkpoint
from pipelines.console.access.session import Session
from pipelines.console.access.viewer import Role, Viewer
from pipelines.console.charts.graph import draw
from pipelines.inspect.campaign import Bystander, SharedIdentifier
from tests.support.console import OpenPages, Pages
from tests.support.console_campaigns import (
    ACCOUNTS,
    BYSTANDER,
    FLEET,
    ID,
    OUTSIDER,
    PAYMENT,
    put_campaign,
)

PAGE = f"/campaigns/{ID}"
WHY = {"why": "INC-7", "for": "4", "for_unit": "hours"}
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def pages(open_pages: OpenPages) -> Pages:
    pages = open_pages("analyst", name="ann")
    put_campaign(pages.console.view.file)
    return pages


def signed_on(
    pages: Pages, name: str, role: Role = "analyst", tenants: tuple[str, ...] = ()
) -> Pages:
    """The same pages for another person."""
    pages.session = Session(Viewer(name, role, tenants), csrf="of another session")
    return pages


def drafted(pages: Pages, **fields: str | list[str]) -> str:
    """The path of the preview of what is selected."""
    answer = pages.submit(f"{PAGE}/act", **{"action": "block", "scope": "selected", **fields})
    assert answer.status_code == 303
    return answer.headers["location"]


def seen(text: str) -> str:
    found = re.search(r'name="seen" value="([^"]+)"', text)
    assert found
    return found[1]


def confirmed(pages: Pages, draft: str, **fields: str) -> str:
    """Where a confirmed preview leads."""
    answer = pages.submit(draft, seen=seen(pages.get(draft).text), **WHY, **fields)
    assert answer.status_code == 303
    return answer.headers["location"]


def blocked(pages: Pages) -> set[str]:
    """The keys and accounts that gateways block now."""
    control, subjects = pages.console.control.read(), [*FLEET, BYSTANDER, OUTSIDER, *ACCOUNTS]
    found = zip(subjects, pages.console.store.in_force(subjects), strict=True)
    return {
        subject
        for subject, decisions in found
        if effective(decisions, control, time.time(), shadow=False).action == "block"
    }


def test_page_shows_who_and_why(pages: Pages) -> None:
    text = pages.get(PAGE).text
    for part in (
        "12 coordinated keys",
        "they split one list",
        "They send at the same rate",
        'class="graph"',
        f'href="/campaigns/{ID}?shares={PAYMENT}#members"',
        "Preview all 12 that match",
        *(f'href="/keys/{key}"' for key in FLEET),
    ):
        assert part in text


def test_table_filters_and_sorts(pages: Pages) -> None:
    def rows(**query: str) -> list[str]:
        text = pages.client.get(PAGE, params=query, headers={"HX-Target": "members"}).text
        assert "<html" not in text
        return re.findall(r'name="selected" value="(\w+)"', text)

    assert rows(shares=PAYMENT) == FLEET[:6]
    assert rows(role="bystander") == [BYSTANDER]
    assert rows(sort="-requests")[0] == rows(sort="requests")[-1] == FLEET[-1]
    assert rows(text=ACCOUNTS[1], page="1", least="99") == FLEET[3:6]
    assert rows(text=SCRIPT, sort="1; DROP TABLE keys", page="x") == []


def test_block_of_selected_keys(pages: Pages) -> None:
    draft = drafted(pages, selected=[*FLEET[:3], OUTSIDER, SCRIPT])
    assert blocked(pages) == set()
    assert confirmed(pages, draft) == PAGE
    assert blocked(pages) == set(FLEET[:3])
    audit = [each for each in pages.console.control.audit() if each.what == "decide"]
    assert {(each.who, each.why) for each in audit} == {("ann", "INC-7")}
    assert len({each.reference for each in audit} - {""}) == 1
    assert pages.submit(draft, seen="x.1", **WHY).status_code == 422  # only once


def test_preview_of_accounts_shows_other_keys(pages: Pages) -> None:
    pages.console.control.allow(ACCOUNTS[1], SCRIPT, 600.0, "bo", "pilot")
    text = pages.get(drafted(pages, scope="all", target="accounts")).text
    assert "1 key of these accounts is not in the campaign" in text
    assert "1 subject is on the allow-list" in text
    assert SCRIPT not in text


def test_preview_of_bystander_counts_its_ordinary_requests(pages: Pages) -> None:
    record = np.zeros((), RECORD)
    record["version"], record["last_seen"], record["own_hours"] = RECORD_VERSION, 30 * DAY, 500.0
    record["own_mean"][REQUESTS.start + SCALES.index("1h")] = np.log2(1.0 + 250.0)
    pages.console.store.commit(Checkpoint({BYSTANDER: record.tobytes()}))
    text = pages.get(drafted(pages, scope="all", role="bystander")).text
    assert "1 bystander is among them" in text
    assert re.search(r"Ordinary requests lost per hour</dt>\s*<dd>250\b", text)


def test_change_of_a_person_since_preview_asks_again(pages: Pages) -> None:
    draft = drafted(pages, selected=FLEET[:2])
    before = seen(pages.get(draft).text)
    store, now = pages.console.store, time.time()
    store.commit(Checkpoint(decisions=[Decision(FLEET[0], "block", "a_1", now, 600.0)]))
    assert seen(pages.get(draft).text) == before  # detectors go on
    pages.console.control.allow(FLEET[0], "sales", 600.0, "bo", "customer")
    answer = pages.submit(draft, seen=before, **WHY)
    assert answer.status_code == 409
    assert "Read it again" in answer.text
    assert FLEET[1] not in blocked(pages)


def test_large_block_needs_another_person(pages: Pages) -> None:
    pages.console.settings.console.second_person_above = 4
    confirmed(pages, drafted(pages, selected=FLEET[:3]))
    where = confirmed(pages, drafted(pages, selected=FLEET[3:6]))
    assert where.startswith("/approvals/")
    why = {"seen": seen(signed_on(pages, "bo").get(where).text), "why": "checked"}
    assert "your own" in signed_on(pages, "Ann").submit(f"{where}/approve", **why).text
    assert signed_on(pages, "vi", "viewer").submit(f"{where}/approve", **why).status_code == 403
    assert blocked(pages) == set(FLEET[:3])
    assert where in signed_on(pages, "bo").get("/approvals").text
    assert pages.submit(f"{where}/approve", **why).status_code == 303
    assert blocked(pages) == set(FLEET[:6])
    assert "does not wait any more" in pages.submit(f"{where}/approve", **why).text


def test_rule_holds_on_the_page_of_one_subject(pages: Pages) -> None:
    pages.console.settings.console.second_person_above = 3
    for subject in (*FLEET[:4], ACCOUNTS[1]):
        answer = pages.submit(f"/decisions/{subject}/decide", action="block", **WHY)
        assert answer.status_code == 303
    assert blocked(pages) == set(FLEET[:3])
    assert len(re.findall(r'href="/approvals/r_', pages.get("/approvals").text)) == 2


def test_refused_proposal_is_never_carried_out(pages: Pages) -> None:
    pages.console.settings.console.second_person_above = 1
    where = confirmed(pages, drafted(pages, selected=FLEET[:2]))
    assert signed_on(pages, "bo").submit(f"{where}/refuse", why="customers").status_code == 303
    assert pages.get(where).status_code == 422
    assert blocked(pages) == set()


def test_draft_belongs_to_one_person(pages: Pages) -> None:
    draft = drafted(pages, selected=FLEET[:2])
    assert signed_on(pages, "bo", "admin").get(draft).status_code == 422
    assert signed_on(pages, "ann", "viewer").get(draft).status_code == 403


def test_scoped_person_sees_and_reaches_own_keys_alone(pages: Pages) -> None:
    pages.console.settings.console.second_person_above = 3
    where = confirmed(pages, drafted(pages, selected=FLEET[5:9]))
    own = signed_on(pages, "cy", tenants=("acme/",))
    text = own.get(PAGE).text
    assert "3 coordinated keys" in text
    assert not [key for key in (*FLEET[3:], BYSTANDER, "they split") if key in text]
    confirmed(own, drafted(own, selected=FLEET))
    assert blocked(pages) == set(FLEET[:3])
    assert own.get(where).status_code == 404
    assert where not in own.get("/approvals").text
    assert signed_on(pages, "di", tenants=("other/",)).get(PAGE).status_code == 404


def test_graph_groups_thousands_of_keys() -> None:
    names = [f"p_{n:08x}" for n in range(800)]
    keys = [Bystander(f"k_{n}", 1, [names[n % 800], "s_1"]) for n in range(5_000)]
    traits = [SharedIdentifier("payment", name, 6, 1, 3.0) for name in names]
    drawing = draw(keys, [], [*traits, SharedIdentifier("system", "s_1", 5_000, 3, 4.0)])
    assert sorted((n.kind, n.count) for n in drawing.nodes) == [
        ("member", 5_000),
        ("tie", 1),
        ("tie", 800),
    ]
    assert all(0 < n.x < drawing.width and 0 < n.y < drawing.height for n in drawing.nodes)
    assert draw(keys, [], traits) == draw(keys, [], traits)
