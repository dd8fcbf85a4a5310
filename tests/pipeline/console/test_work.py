"""What people do on the pages of decisions, alerts, cases, appeals and the audit."""

from __future__ import annotations

import re
import time
from pathlib import Path

import msgspec
import pytest

from monitor.alerting.alerts import Alert, Severity, alert_id
from monitor.alerting.decisions import Decision
from monitor.alerting.enforcement import Effective, effective
from monitor.config import Cases, Settings
from monitor.evidence.bundle.verify import verify_bundle
from monitor.evidence.entries import AlertSeen
from monitor.evidence.keys import new_key
from monitor.store.alert_book import Entry, Mark
from monitor.store.base import Checkpoint
from pipelines.console.access.session import Session
from pipelines.console.view.database import Writer
from tests.support.cases import CAMPAIGN, MEMBERS, campaign_alert, key_alert
from tests.support.console import OpenPages, Pages

KEY, OTHER = MEMBERS[0], "k_" + "7" * 24
BY = ("bo", "INC-7")
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    cases = Cases(key_file=tmp_path / "case.pem")
    new_key(cases)
    return settings.model_copy(update={"cases": cases})


@pytest.fixture
def pages(open_pages: OpenPages) -> Pages:
    return open_pages("admin")


def alert_on(key: str, severity: Severity = "warning") -> Alert:
    """An alert with an id as the monitor makes them."""
    return msgspec.structs.replace(key_alert(key, severity), id=alert_id(key, "harvest", 0.0))


def insert(pages: Pages, table: str, *rows: dict[str, object]) -> None:
    """Write rows into the view."""
    with Writer(pages.console.view.file).transaction() as view:
        for row in rows:
            columns, marks = ", ".join(row), ", ".join("?" * len(row))
            view.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", [*row.values()])


def block(pages: Pages, key: str, alert: Alert) -> None:
    """Block a key because of an alert, in Redis and in the view."""
    store, now = pages.console.store, time.time()
    decision = Decision(key, "block", alert.id, now, 600.0, kind=alert.kind)
    store.commit(Checkpoint(decisions=[decision]))
    actions = {"action": "block", "decided": "block", "why": "", "origin": "detector"}
    because = {"kind": alert.kind, "reason": alert.id, "until": now + 600.0, "made_at": now}
    insert(pages, "in_force", {"subject": key} | actions | because)


def change(id: str, who: str, why: str, about: str, after: str = "") -> dict[str, object]:
    """A row of the audit in the view."""
    what = {"id": id, "at": float(id[2:]), "what": "decide", "who": who, "why": why}
    return what | {"subject": about, "about": about, "before": "", "after": after}


def alerted(pages: Pages, alert: Alert) -> Alert:
    """Enter an alert in the book, delivered to a pager."""
    entry = Entry(alert, 0, time.time(), time.time())
    pages.console.book.write([entry])
    mark = Mark("pager", alert.state, alert.severity, alert.detected_at)
    pages.console.book.mark({alert.id: [mark]}, time.time())
    return alert


def case_with(pages: Pages, alert: Alert) -> str:
    """A case on the subject of an alert."""
    store, subject = pages.console.cases.store, alert.subject
    case = store.open_case(subject.id, subject.type, SCRIPT, "monitor", alert=alert.id)
    store.append(case, AlertSeen(alert), "monitor", source="alerts:0:1")
    return case


def on(pages: Pages, key: str) -> Effective:
    decisions = pages.console.store.in_force([key])[0]
    return effective(decisions, pages.console.control.read(), time.time(), shadow=False)


def audited(pages: Pages) -> list[tuple[str, str, str]]:
    return [(each.what, each.who, each.why) for each in pages.console.control.audit()]


def test_decision_on_a_key_applies_and_is_audited(pages: Pages) -> None:
    pages.console.control.switch("shadow", False, *BY)
    chosen = {"action": "throttle", "rate": "20", "for": "2", "for_unit": "hours", "why": "INC-8"}
    answer = pages.submit(f"/decisions/{KEY}/decide", **chosen)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/keys/{KEY}")
    found = on(pages, KEY)
    assert (found.action, found.why) == ("throttle", "operator")
    assert found.decision is not None
    assert found.decision.rate == 20.0
    assert 7190 < found.decision.until - time.time() <= 7200
    assert "Gateways now apply: Throttle." in pages.get("/decisions").text
    pages.submit(f"/decisions/{KEY}/delete", why="INC-9")
    assert on(pages, KEY).decision is None
    assert audited(pages)[1:] == [("decide", "ada", "INC-8"), ("delete", "ada", "INC-9")]


def test_block_beyond_the_limit_waits_for_a_second_person(
    open_pages: OpenPages, settings: Settings
) -> None:
    settings.console.second_person_above = 0
    pages = open_pages("analyst")
    chosen = {"action": "block", "for": "2", "for_unit": "hours", "why": "INC-8"}
    answer = pages.submit(f"/decisions/{KEY}/decide", **chosen)
    assert answer.headers["location"].startswith("/approvals/")
    assert on(pages, KEY).decision is None


def test_wrong_forms_change_nothing(pages: Pages) -> None:
    fine = {"action": "mark", "for": "2", "for_unit": "hours", "why": "INC-8"}
    for name, wrong in {
        "action": "burn",
        "for": "1e9",
        "for_unit": "weeks",
        "why": "line\nline",
        "rate": "inf",
    }.items():
        answer = pages.submit(
            f"/decisions/{KEY}/decide", **fine | {"action": "throttle", name: wrong}
        )
        assert answer.status_code == 422, name
    for subject in ("k_1", "c_0123456789ab", SCRIPT, "..%2F..%2Fsign-out"):
        assert pages.submit(f"/decisions/{subject}/decide", **fine).status_code == 404
    assert audited(pages) == []


def test_allowed_account_is_exempt_and_listed(pages: Pages) -> None:
    account = "a_" + "5" * 24
    chosen = {"owner": SCRIPT, "for": "30", "for_unit": "days", "why": "pilot"}
    pages.submit(f"/decisions/{account}/allow", **chosen)
    assert pages.console.control.read().allowed[account].who == "ada"
    listed = pages.get("/decisions").text
    assert account in listed
    assert SCRIPT not in listed
    pages.submit(f"/decisions/{account}/deny", why="it ended")
    assert pages.console.control.read().allowed == {}


def test_decisions_are_listed_as_redis_has_them(pages: Pages) -> None:
    block(pages, KEY, alert_on(KEY, "critical"))
    pages.console.control.switch("shadow", False, *BY)
    assert "Enforced" in pages.get("/decisions").text
    pages.console.control.switch("kill", True, *BY)
    listed = pages.get("/decisions", action="block").text
    assert "Not enforced: kill switch" in listed
    pages.console.control.delete(KEY, *BY)
    assert KEY not in pages.get("/decisions").text


def test_switch_shows_its_effect_before_it_is_set(pages: Pages) -> None:
    block(pages, KEY, alert_on(KEY, "critical"))
    pages.console.control.switch("shadow", False, *BY)
    shown = pages.get("/switches/preview", name="kill", state="on")
    assert "Gateways would treat 1 subject less strictly." in shown.text
    assert KEY in shown.text
    assert on(pages, KEY).action == "block"
    chosen = {"name": "kill", "state": "on", "kind": "", "why": "customers locked out"}
    pages.submit("/switches", **chosen, **{"for": "2", "for_unit": "hours"})
    assert on(pages, KEY).why == "kill"
    switch = pages.console.control.read().switches["kill"]
    assert (switch.who, switch.until is not None) == ("ada", True)
    assert "nothing is enforced" in pages.get("/switches").text


def test_switches_are_for_administrators_of_all_tenants(open_pages: OpenPages) -> None:
    chosen = {"name": "shadow", "state": "off", "kind": "", "forever": "yes", "why": "mine"}
    for pages in (open_pages("analyst"), open_pages("admin", tenants=("acme/",))):
        assert pages.submit("/switches", **chosen).status_code == 403
        assert pages.get("/switches/preview", name="kill", state="on").status_code == 403
        assert "Show what it would do" not in pages.get("/switches").text
    assert audited(pages) == []


def test_alert_is_shown_withdrawn_and_reinstated(pages: Pages) -> None:
    alert = alerted(pages, msgspec.structs.replace(alert_on(KEY), summary=SCRIPT))
    path = f"/alerts/{alert.id}"
    shown = pages.get(path).text
    assert "pager" in shown
    assert "&lt;script&gt;" in shown
    assert SCRIPT not in shown
    pages.submit(f"{path}/withdraw", why="our own CI")
    assert pages.console.control.read().withdrawn[alert.id].who == "ada"
    assert "Withdrawn by ada: our own CI." in pages.get(path).text
    pages.submit(f"{path}/reinstate", why="it is not")
    assert pages.console.control.read().withdrawn == {}
    assert pages.get("/alerts/a_" + "f" * 20).status_code == 404


def test_alert_is_silenced_for_a_while(pages: Pages) -> None:
    alert = alerted(pages, alert_on(KEY))
    chosen = {"subject": alert.id, "for": "30", "for_unit": "minutes", "why": "a test"}
    assert pages.submit("/silences", **chosen).headers["location"] == f"/alerts/{alert.id}"
    (silence,) = pages.console.book.silences(time.time())
    assert (silence.subject, silence.who) == (alert.id, "ada")
    assert "Silenced by ada (a test)" in pages.get(f"/alerts/{alert.id}").text
    pages.submit(f"/silences/{silence.id}/end", why="it is over")
    assert pages.submit("/silences", **chosen | {"subject": "k_live secret"}).status_code == 422
    assert pages.console.book.silences(time.time()) == []


def test_case_keeps_notes_as_text(pages: Pages) -> None:
    case = case_with(pages, campaign_alert())
    pages.submit(f"/cases/{case}/note", text=f"Zwei Zeilen\n{SCRIPT}")
    assert pages.submit(f"/cases/{case}/note", text="\x1b[2J").status_code == 422
    shown = pages.get(f"/cases/{case}").text
    assert "Zwei Zeilen\n&lt;script&gt;" in shown
    assert SCRIPT not in shown
    assert SCRIPT not in pages.get("/cases").text
    pages.submit(f"/cases/{case}/close", outcome="extraction", why="banned")
    assert pages.console.cases.store.row(case).outcome == "extraction"
    assert "No cases." in pages.get("/cases").text
    assert case in pages.get("/cases", all="").text
    pages.submit(f"/cases/{case}/reopen", why="they are back")
    assert pages.console.cases.store.row(case).status == "open"


def test_case_that_was_changed_is_not_shown(pages: Pages) -> None:
    case = case_with(pages, campaign_alert())
    store = pages.console.cases.store
    store._call("LSET", f"xm:case:{{{case}}}", 1, store.lines(case)[1].replace(b'"a', b'"b', 1))
    shown = pages.get(f"/cases/{case}").text
    assert "Do not rely on this case" in shown
    assert "Add the note" not in shown


def test_export_is_verified_and_its_path_names_no_file(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.reports.render.pdf", lambda _: b"%PDF-")  # takes seconds
    case = case_with(pages, alert_on(KEY))
    answer = pages.submit(f"/cases/{case}/exports", why="For counsel")
    path = answer.headers["location"]
    assert "The bundle is as it was signed." in pages.get(path).text
    bundle = pages.get(f"{path}/bundle.zip")
    assert bundle.headers["content-disposition"] == f'attachment; filename="{case}.zip"'
    report = verify_bundle(bundle.content, pages.console.cases.store.ring)
    assert report.ok
    assert path == f"/cases/{case}/exports/{report.manifest}"
    for wrong in ("..%2f..%2fcase.pem", "../../case.pem", "%2e%2e", report.manifest[:-1], ""):
        assert pages.get(f"/cases/{case}/exports/{wrong}/bundle.zip").status_code == 404
    incident = pages.get(f"/cases/{case}/incident.html")
    assert SCRIPT not in incident.text
    assert incident.headers["content-disposition"].startswith("attachment")
    assert pages.get(f"/cases/{case}/incident.exe").status_code == 404
    other = case_with(pages, campaign_alert())
    assert pages.get(path.replace(case, other)).status_code == 404


def test_case_needs_a_key_to_sign(open_pages: OpenPages, settings: Settings) -> None:
    case = case_with(open_pages("admin"), key_alert(KEY))
    assert settings.cases.key_file is not None
    settings.cases.key_file.unlink()
    for path in ("note", "exports"):
        answer = open_pages("admin").submit(f"/cases/{case}/{path}", text="a note", why="INC-8")
        assert answer.status_code == 409


def test_appeal_is_recorded_and_answered(pages: Pages) -> None:
    pages.console.control.switch("shadow", False, *BY)
    alert = alerted(pages, alert_on(KEY, "critical"))
    block(pages, KEY, alert)
    case = case_with(pages, alert)
    answer = pages.submit(f"/cases/{case}/letters", subject=KEY, action="")
    reference = answer.headers["location"].partition("#")[2]
    letter = pages.get(f"/cases/{case}/letters/{reference}")
    assert "Its requests are refused" in letter.text
    assert letter.headers["content-disposition"].startswith("attachment")
    pages.submit("/appeals", reference=reference.lower(), text=f"our tests {SCRIPT}", received="")
    waiting = pages.get("/appeals").text
    assert "1 appeal waits for a ruling." in waiting
    ruling = {"reference": reference, "result": "overturned", "why": "INC-9"}
    pages.submit(f"/cases/{case}/rule", **ruling)
    assert on(pages, KEY).action == "observe"
    shown = pages.get(f"/cases/{case}").text
    assert f"Tell the customer, and quote {reference}." in shown
    assert SCRIPT not in shown
    assert "No appeal waits." in pages.get("/appeals").text
    assert audited(pages)[-1] == ("overturn", "ada", "INC-9")


def test_download_of_the_audit_ends_with_the_session(pages: Pages) -> None:
    class Ended(Session):
        async def alive(self) -> bool:
            return False

    insert(pages, "audit", change("o_1", "bo", "INC-7", KEY, "true"))
    assert pages.get("/audit.jsonl").text
    assert pages.session is not None
    pages.session = Ended(pages.session.viewer, pages.session.csrf)
    assert not pages.get("/audit.jsonl").text


def test_audit_is_filtered_and_downloaded(pages: Pages) -> None:
    people = enumerate(["ann", "bo"] * 60)
    rows = [change(f"o_{1000 + n}", who, SCRIPT, KEY, '{"on": true}') for n, who in people]
    insert(pages, "audit", *rows)
    shown = pages.get("/audit").text
    assert shown.count("<tr id=") == 100
    assert SCRIPT not in shown
    (older,) = re.findall(r'href="(/audit\?before=[^"]+)"', shown)
    assert pages.get(older).text.count("<tr id=") == 20
    lines = pages.get("/audit.jsonl", who="bo").text.splitlines()
    found = [msgspec.json.decode(line) for line in lines]
    assert len(found) == 60
    assert {(each["who"], each["after"]["on"]) for each in found} == {("bo", True)}
    assert pages.get("/audit", before="nan/x").status_code == 404
    assert pages.get("/audit", since="yesterday").status_code == 422


def test_person_of_a_tenant_sees_nothing_of_others(open_pages: OpenPages) -> None:
    everybody, scoped = open_pages("admin"), open_pages("analyst", tenants=("acme/",))
    mine, others = alert_on(KEY), alert_on(OTHER)
    for alert in (mine, others):
        alerted(everybody, alert)
        block(everybody, alert.subject.id, alert)
    cases = [case_with(everybody, mine), case_with(everybody, others)]
    everybody.console.control.allow(OTHER, "sales", 600.0, *BY)
    shared = campaign_alert(members=[KEY, OTHER])
    shared = alerted(everybody, msgspec.structs.replace(shared, id="a_" + "c" * 20, summary=OTHER))
    everybody.console.control.withdraw(shared.id, CAMPAIGN, "campaign", "critical", "bo", OTHER)
    alert_path = f"/alerts/{shared.id}"
    row = {"id": shared.id, "kind": "campaign", "severity": 3, "state": "open", "score": 1.0}
    about = {"subject": CAMPAIGN, "subject_type": "campaign", "decision": "block"}
    text = {"summary": OTHER, "evidence": OTHER}
    times = dict.fromkeys(("opened_at", "detected_at", "changed_at"), 1.0)
    insert(everybody, "alerts", row | about | text | times)
    insert(everybody, "audit", change("o_1", "bo", OTHER, CAMPAIGN, f'["{OTHER}"]'))
    capped = change("o_2", "monitor", "too many", KEY, '{"keys": 31, "share": 0.1}')
    insert(everybody, "audit", capped | {"what": "cap"})
    assert "31 keys and 10% of requests" in everybody.get("/audit").text
    insert(everybody, "keys", {"key": KEY, "tenant": "acme/"})
    insert(everybody, "campaign_tenants", {"campaign": CAMPAIGN, "tenant": "acme/"})
    lists = ("/decisions", "/cases", "/alerts", "/appeals", "/audit", "/audit.jsonl")
    for path in (*lists, alert_path):
        shown = scoped.get(path)
        assert shown.status_code == 200, path
        assert OTHER not in shown.text, path
        assert cases[1] not in shown.text, path
    assert KEY in scoped.get("/decisions").text
    assert "31 keys" not in scoped.get("/audit").text
    assert cases[0] in scoped.get("/cases").text
    assert scoped.get(f"/cases/{cases[0]}").status_code == 200
    fields = {"for": "1", "for_unit": "hours", "why": "INC-8", "owner": "me", "action": "mark"}
    for path, more in {
        f"/decisions/{OTHER}/decide": fields,
        f"/decisions/{OTHER}/delete": fields,
        f"/decisions/{OTHER}/allow": fields,
        f"/decisions/{OTHER}/deny": fields,
        "/decisions/n_0123456789abcdef/allow": fields,
        f"/alerts/{others.id}/withdraw": fields,
        f"{alert_path}/withdraw": fields,
        f"/alerts/{others.id}/reinstate": fields,
        "/silences": fields | {"subject": OTHER},
        "/cases": fields | {"subject": OTHER},
        f"/cases/{cases[1]}/note": {"text": "mine"},
        f"/cases/{cases[1]}/close": fields | {"outcome": "unclear"},
        f"/cases/{cases[1]}/exports": fields,
        f"/cases/{cases[1]}/letters": {"subject": OTHER, "action": "block"},
        f"/cases/{cases[1]}/rule": fields | {"result": "overturned"},
    }.items():
        assert scoped.submit(path, **more).status_code == 404, path
    assert scoped.submit("/silences", **fields, kind="burst").status_code == 403
    assert scoped.get(f"/alerts/{others.id}").status_code == 404
    assert {each[1] for each in audited(everybody)} == {"bo"}
