"""Documents of a case: complete, sourced, and safe against what people and customers write."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import networkx as nx
import pytest

from monitor.alerting.alerts import Subject
from monitor.errors import ConfigError
from monitor.evidence.entries import AlertSeen, Appealed, Closed, FactsTaken, Ruled, Traced
from monitor.evidence.facts import Moment
from pipelines.reports import history, pictures, render
from pipelines.reports.blocks import Document, Items, Pairs, Quote, Table, Text, shortened
from pipelines.reports.case_page import case_page
from pipelines.reports.documents import documents, graphml
from pipelines.reports.evidence import evidence_of
from pipelines.reports.incident import incident
from tests.support import case_entries

ATTACK = (
    "<script>alert(1)</script> **bold** [link](http://evil.example) {{ 7 * 7 }} "
    "<img src=http://127.0.0.1:9/x> | cell \u202eesrever שלום " + "x" * 300
)
VOID = {"meta", "link", "br", "img", "col"}


class Page(HTMLParser):
    """The elements of a page, as (name, attributes)."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@cache
def attacked() -> list[Any]:
    return case_entries.whole_case(6, ATTACK)


@cache
def small_documents() -> dict[str, bytes]:
    return documents(attacked())


def blocks(document: Document) -> list[tuple[str, str, tuple[int, ...]]]:
    """Everything that states something: section, text and sources."""
    found = []
    for section in document.sections:
        for block in section.blocks:
            match block:
                case Text() | Quote():
                    found.append((section.title, block.text, block.sources))
                case Items():
                    found += [(section.title, each.text, each.sources) for each in block.rows]
                case Pairs():
                    found += [(section.title, each.value, each.sources) for each in block.rows]
                case Table():
                    found += [
                        (section.title, " ".join(row.cells), row.sources) for row in block.rows
                    ]
    return found


@pytest.mark.parametrize("members", [2, 20])
def test_every_number_of_a_report_has_a_source(members: int) -> None:
    report = incident(evidence_of(case_entries.whole_case(members)))
    listed = {each.number for each in report.sources}
    for section, text, sources in blocks(report):
        if re.search(r"\d", text):
            assert sources, (section, text)
        assert set(sources) <= listed


@pytest.mark.parametrize("members", [6, 30])
def test_amounts_are_in_the_entry_that_they_cite(members: int) -> None:
    entries = case_entries.whole_case(members)
    written = {entry.number: msgspec.json.encode(entry).decode() for entry, _ in entries}
    amounts = 0
    for section in incident(evidence_of(entries)).sections:
        tables = [each for each in section.blocks if isinstance(each, Table)]
        for row in (
            row for each in tables if section.title == "How much was taken" for row in each.rows
        ):
            key, requests, tokens = (cell.replace(",", "") for cell in row.cells[:3])
            for number in row.sources:
                member = f'"key":"{key}","role":"member"'
                assert re.search(
                    f'{member}[^}}]*"requests":{requests},"tokens":{tokens},', written[number]
                )
                amounts += 1
    assert amounts == min(members, 10)


def test_sources_name_the_digest_of_the_stored_line() -> None:
    entries = case_entries.whole_case()
    report = incident(evidence_of(entries))
    assert {(each.number, each.digest) for each in report.sources} <= {
        (entry.number, digest) for entry, digest in entries
    }


def test_report_states_the_amounts_of_the_facts() -> None:
    facts = case_entries.facts_of_campaign(6)
    text = small_documents()["incident.md"].decode()
    for value in (f"{facts.requests:,}", f"{facts.tokens:,}", "7.3%", "1 in 32,000"):
        assert value in text


def test_report_of_a_case_without_facts_says_so() -> None:
    report = incident(evidence_of(case_entries.empty_case()))
    assert "No facts" in report.warning
    assert any("none have been collected" in text for _, text, _ in blocks(report))


def test_report_begins_with_an_overturned_decision() -> None:
    ruled = Ruled("overturned", "A test of the customer.")
    entries = case_entries.chained(
        *(entry.body for entry, _ in case_entries.whole_case()), ruled, who="monitor"
    )
    assert "false alarm" in incident(evidence_of(entries)).warning


def test_report_names_open_appeals_and_the_outcome() -> None:
    entries = case_entries.chained(
        *(entry.body for entry, _ in case_entries.empty_case()),
        Appealed("R-1", "We object.", case_entries.START),
        Closed("not extraction", "It was a test."),
    )
    report = incident(evidence_of(entries))
    assert report.warning == "The case was closed as: not extraction."
    said = " ".join(text for _, text, _ in blocks(report))
    assert "closed the case as not extraction. Reason: It was a test." in said


def test_report_of_a_stream_that_is_not_complete_says_at_least() -> None:
    facts = msgspec.structs.replace(case_entries.facts_of_campaign(), complete=False, stream=[])
    bodies: list[Any] = [entry.body for entry, _ in case_entries.whole_case()]
    bodies[2] = type(bodies[2])(facts)
    said = " ".join(
        text for _, text, _ in blocks(incident(evidence_of(case_entries.chained(*bodies))))
    )
    assert "at least these amounts" in said
    assert "A replay cannot confirm all numbers." in said


def test_case_page_lists_every_key_and_every_entry() -> None:
    page = small_documents()["case.html"].decode()
    assert all(each.key in page for each in case_entries.facts_of_campaign(6).members)
    assert all(digest in page for _, digest in attacked())


@pytest.mark.parametrize("name", ["case.html", "incident.html"])
def test_pages_have_no_element_from_a_text(name: str) -> None:
    page = Page(small_documents()[name].decode())
    assert not {"script", "iframe", "link", "object"} & {tag for tag, _ in page.elements}
    images = [attributes["src"] or "" for tag, attributes in page.elements if tag == "img"]
    assert all(each.startswith("data:image/svg+xml;base64,") for each in images)
    links = [attributes["href"] or "" for tag, attributes in page.elements if tag == "a"]
    assert all(each.startswith("#entry-") for each in links)


@pytest.mark.parametrize("name", ["case.html", "incident.html"])
def test_pages_forbid_scripts_and_need_no_inline_style(name: str) -> None:
    page = Page(small_documents()[name].decode())
    policies = [
        attributes["content"] or ""
        for tag, attributes in page.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies
    assert policies[0].startswith("default-src 'none'; style-src 'sha256-")
    style = re.findall(r"<style>(.*)</style>", small_documents()[name].decode(), re.S)
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policies[0]
    for _, attributes in page.elements:
        assert not [each for each in attributes if each == "style" or each.startswith("on")]


def test_notes_stay_text_and_reversal_is_visible() -> None:
    page = small_documents()["case.html"].decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "{{ 7 * 7 }}" in page
    assert "⟨U+202E⟩esrever" in page
    assert "\u202e" not in page


def test_markdown_has_no_markup_from_a_text() -> None:
    subject = f"rival {ATTACK}"
    bodies: list[Any] = [entry.body for entry, _ in attacked()]
    bodies[8] = msgspec.structs.replace(bodies[8], model=subject)
    entries = case_entries.chained(*bodies)
    text = render.markdown(case_page(evidence_of(entries)))
    for piece in ("<script", "<img", "**bold**", "[link](", "://"):
        assert piece not in text


def test_pdf_reads_neither_network_nor_files(monkeypatch: pytest.MonkeyPatch) -> None:
    from urllib import request

    opened: list[str] = []
    for handler, name in ((request.HTTPHandler, "http_open"), (request.FileHandler, "file_open")):
        monkeypatch.setattr(handler, name, lambda self, r: opened.append(r.full_url))
    image = '<img src="http://127.0.0.1:9/x"><img src="file:///etc/hostname">'
    assert render.pdf(f"<!DOCTYPE html><title>x</title>{image}").startswith(b"%PDF")
    assert opened == []


def test_pdf_without_a_library_names_the_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weasyprint.py").write_text("raise OSError('cannot load libpango-1.0-0')")
    for name in [each for each in sys.modules if each.split(".")[0] == "weasyprint"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"cannot load libpango-1\.0-0.*fonts-dejavu-core"):
        render.pdf("<p>")


def test_pdf_without_a_font_names_the_packages(tmp_path: Path) -> None:
    fonts = tmp_path / "fonts.conf"
    fonts.write_text("<?xml version='1.0'?><fontconfig><dir>/nonexistent</dir></fontconfig>")
    ended = subprocess.run(
        [sys.executable, "-c", "from pipelines.reports import render; render.pdf('<p>x')"],
        env={**os.environ, "FONTCONFIG_FILE": str(fonts), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "Install libpango-1.0-0" in ended.stderr
    assert "fonts-dejavu-core" in ended.stderr


def test_documents_of_the_same_entries_have_the_same_bytes() -> None:
    page = small_documents()["incident.html"].decode()
    assert render.html(incident(evidence_of(attacked()))) == page
    assert render.pdf(page) == small_documents()["incident.pdf"]


def test_case_json_has_all_entries() -> None:
    recorded = msgspec.json.decode(small_documents()["case.json"])
    assert [each["sha256"] for each in recorded] == [digest for _, digest in attacked()]


def test_graph_links_keys_with_what_they_share() -> None:
    facts = case_entries.facts_of_campaign()
    graph = nx.read_graphml(BytesIO(graphml(facts)))
    member = facts.members[0]
    assert set(graph[member.key]) == {facts.subject, *member.shares}


@pytest.mark.parametrize("members", [1, 2, 20, 1_000])
def test_graph_picture_draws_all_keys_inside_its_frame(members: int) -> None:
    facts = case_entries.facts_of_campaign(members)
    picture = pictures.graph(facts)
    assert picture.count("<circle") >= members
    places = [float(each) for each in re.findall(r'c[xy]="([\d.-]+)"', picture)]
    assert min(places) >= 0
    assert max(places) <= 760


def test_pictures_without_members_are_empty() -> None:
    facts = msgspec.structs.replace(case_entries.facts_of_campaign(), members=[], shared=[])
    assert (pictures.graph(facts), pictures.growth(facts)) == ("", "")


@pytest.mark.parametrize(
    ("line", "expected"), [("45 \u05e9\u05dc k_1", "rtl"), ("12 keys \u05e9", "ltr"), ("", "ltr")]
)
def test_direction_of_a_line_is_that_of_its_first_letter(line: str, expected: str) -> None:
    assert render.direction(line) == expected


def test_facts_of_a_live_recording_do_not_hide_what_whole_ones_have() -> None:
    whole = case_entries.facts_of_campaign(6)
    quick = msgspec.structs.replace(whole, shared=[], findings=[])
    bodies = [entry.body for entry, _ in case_entries.empty_case()]
    entries = case_entries.chained(*bodies, FactsTaken(whole), FactsTaken(quick))
    evidence = evidence_of(entries)
    assert evidence.whole_facts == (whole, (2,))
    assert ("7.3%", (2,)) in [(text, sources) for _, text, sources in blocks(incident(evidence))]


@pytest.mark.parametrize(("found", "verb"), [(True, "show"), (False, "do not show")])
def test_trace_is_a_sentence_and_a_table(found: bool, verb: str) -> None:
    trace = Traced("rival-7b", "ab" * 32, case_entries.TRACE | {"found": found, "new_name": None})
    bodies = [entry.body for entry, _ in case_entries.empty_case()]
    report = incident(evidence_of(case_entries.chained(*bodies, trace)))
    said = [text for section, text, _ in blocks(report) if section == "Tests of suspect models"]
    assert said[0] == f"The outputs of the model rival-7b {verb} the mark of this case."
    assert "1 in 380,000,000" in said
    assert any("98,000 26,100 24,500 1 in 760,000,000" in each for each in said)


def test_shortened_document_says_where_the_other_rows_are() -> None:
    whole = case_page(evidence_of(case_entries.whole_case(30)))
    short = shortened(whole, 12, "case.html")
    (keys,) = [each for each in short.sections if each.title == "Keys of the group"]
    assert [len(each.rows) for each in keys.blocks if isinstance(each, Table)] == [12]
    assert keys.blocks[-1] == Text("18 more rows are in case.html.", (3,))
    assert shortened(whole, 30, "case.html") == whole


def test_timeline_has_each_alert_once_and_of_members_two() -> None:
    facts = case_entries.facts_of_campaign(6)
    seen = case_entries.alert()
    times = [seen.detected_at + offset for offset in (1.0, 2.0, 3.0)]
    own = [
        msgspec.structs.replace(
            seen, id=f"a_{at}", subject=Subject("api_key", "k_1"), detected_at=at
        )
        for at in times
    ]
    timeline = [
        Moment(seen.detected_at, "The alert campaign was critical: 6 keys."),
        Moment(times[0], "The alert campaign ended."),
        Moment(times[1] + 0.5, "The alert coverage ended."),
    ]
    facts = msgspec.structs.replace(facts, timeline=timeline, alerts=[seen])
    bodies = [entry.body for entry, _ in case_entries.whole_case()][:2]
    bodies += [AlertSeen(each) for each in own]
    evidence = evidence_of(case_entries.chained(*bodies, FactsTaken(facts)))
    (table,) = history.timeline(evidence, of_members=False)
    assert isinstance(table, Table)
    said = [(row.cells[1], row.sources) for row in table.rows]
    assert [each for each in said if "lert" in each[0] and "opened the case" not in each[0]] == [
        (f"Alert opened: Keys that act together (very serious), on {seen.subject.id}.", (2,)),
        ("The first alert about a single member.", (3,)),
        ("Alert (Prompts as in a data set for training) ended.", (6,)),
        ("The last alert about a single member so far.", (5,)),
    ]
