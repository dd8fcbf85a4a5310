"""The commands on cases, run in a shell."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
import redis
from rich.console import Console

from monitor.config import Cases, load
from monitor.evidence.keys import new_key
from monitor.store.alert_book import AlertBook, Entry
from monitor.store.control import ControlStore
from monitor.store.redis import RedisStore
from pipelines.cases.access import case_store
from pipelines.cases.desk import view
from pipelines.show.cases.case import show, show_list
from tests.support import campaigns
from tests.support.cases import campaign_alert
from tests.support.commands import Xm

BY = ("--who", "ann", "--why", "INC-1207")


@pytest.fixture
def linked(redis_url: str, kafka: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The URL of a Redis with a campaign and its alert; the settings name a key."""
    campaigns.save(RedisStore(redis_url, 100), campaigns.partition())
    alert = campaign_alert(subject="c_fleet", members=list(campaigns.FLEET))
    AlertBook(redis_url).write([Entry(alert, 0, 1.0, 1.0)])
    key = tmp_path / "case.pem"
    new_key(Cases(key_file=key))
    monkeypatch.setenv("XM_REDIS_URL", redis_url)
    monkeypatch.setenv("XM_KAFKA", kafka)
    monkeypatch.setenv("XM_CASES__KEY_FILE", str(key))
    monkeypatch.setenv("COLUMNS", "80")
    return redis_url


@pytest.fixture
def case(linked: str, xm: Xm) -> str:
    ended = xm("case", "open", "c_fleet", *BY, "--json")
    assert ended.status == 0, ended.error
    return str(json.loads(ended.out)["row"]["id"])


def test_open_takes_the_alerts_and_facts_of_the_moment(case: str, linked: str, xm: Xm) -> None:
    found = json.loads(xm("case", "show", case, "--json").out)
    assert [each["body"]["kind"] for each in found["case"]["entries"]] == [
        "opened", "alert", "facts",
    ]  # fmt: skip
    assert (found["row"]["severity"], found["problems"]) == ("critical", [])
    (change,) = ControlStore(linked).audit()
    assert (change.what, change.subject, change.who) == ("case", case, "ann")
    again = xm("case", "open", "c_fleet", *BY)
    assert (again.status, f"{case} is open on c_fleet" in again.error) == (2, True)


def test_case_is_shown_at_80_columns(case: str, linked: str, xm: Xm) -> None:
    xm("case", "note", case, "word " * 40, "--who", "ann")
    shown = xm("case", "show", case[:12]).out
    assert "opened, ann" in shown
    assert "whole and signed, 4 not in Kafka yet" in shown
    assert case in xm("case", "list").out
    store, narrow = case_store(load(), sign=False), Console(width=80, file=StringIO())
    show_list(store.rows(), narrow)
    show(view(store, case), narrow)
    assert isinstance(narrow.file, StringIO)
    out = narrow.file.getvalue()
    assert len(out.splitlines()) > 20
    assert max(map(len, out.splitlines())) <= 80
    assert all(line == line.rstrip() for line in shown.splitlines()[12:])


def test_note_close_and_reopen_are_entries_and_in_the_audit(case: str, linked: str, xm: Xm) -> None:
    assert (
        xm("case", "note", "c_fleet", "\u05e9\u05dc\u05d5\u05dd\nagain", "--who", "ann").status == 0
    )
    assert xm("case", "close", case, "--outcome", "not-extraction", *BY).status == 0
    assert xm("case", "list").out == "No cases.\n"
    assert "not extraction" in xm("case", "list", "--all", "--subject", "c_fleet").out
    assert "is closed" in xm("case", "close", case, "--outcome", "unclear", *BY).error
    assert xm("case", "reopen", case, *BY).status == 0
    assert "is open" in xm("case", "reopen", case, *BY).error
    entries = json.loads(xm("case", "show", case, "--json").out)["case"]["entries"]
    assert [each["body"]["kind"] for each in entries[3:]] == ["note", "closed", "reopened"]
    audited = [change for change in ControlStore(linked).audit() if change.what == "case"]
    assert [(each.subject, each.who) for each in audited] == [(case, "ann")] * 4


@pytest.mark.parametrize("text", ["", "a\x1b[2Jb", "a\u202eb", "x" * 20_001])
def test_note_that_cannot_be_shown_is_refused(case: str, xm: Xm, text: str) -> None:
    assert xm("case", "note", case, text, "--who", "ann").status == 2
    assert len(json.loads(xm("case", "show", case, "--json").out)["case"]["entries"]) == 3


def test_case_can_be_opened_again_after_it_is_closed(case: str, xm: Xm) -> None:
    xm("case", "close", case, "--outcome", "duplicate", *BY)
    other = json.loads(xm("case", "open", "c_fleet", *BY, "--json").out)["row"]["id"]
    assert other != case
    assert f"{other} is open on c_fleet" in xm("case", "reopen", case, *BY).error


def test_changed_case_is_not_shown_as_true(case: str, linked: str, xm: Xm) -> None:
    name = f"xm:case:{{{case}}}"
    with redis.from_url(linked) as client:
        client.lset(name, 1, client.lindex(name, 1).replace(b"a", b"b", 1))
    shown = xm("case", "show", case)
    assert shown.status == 1
    assert "Do not rely on this case" in shown.out
    assert "coordinated keys" not in shown.out


def test_subject_that_is_unknown_opens_no_case(linked: str, xm: Xm) -> None:
    assert "is not a campaign" in xm("case", "open", "sk-abc", *BY).error
    assert "has no campaign c_none" in xm("case", "open", "c_none", *BY).error
    assert xm("case", "list", "--all").out == "No cases.\n"


def test_commands_without_a_key_say_how_to_make_one(
    case: str, xm: Xm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    public = tmp_path / "case.public.json"
    monkeypatch.delenv("XM_CASES__KEY_FILE")
    monkeypatch.setenv("XM_CASES__PUBLIC_KEYS_FILE", str(public))
    assert xm("case", "show", case).status == 0
    assert "xm case key new" in xm("case", "note", case, "seen", "--who", "ann").error
