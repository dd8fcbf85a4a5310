"""The commands of a review, as a shell runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.commands import Xm
from tests.support.reviews import KEY, Reviewed


@pytest.fixture
def ask(xm: Xm, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Xm:
    """`xm case …` where a key is blocked and cases can be signed."""
    Reviewed(redis_url).blocked_key()
    monkeypatch.setenv("XM_REDIS_URL", redis_url)
    monkeypatch.setenv("XM_KAFKA", "127.0.0.1:1")
    monkeypatch.setenv("XM_CASES__KEY_FILE", str(tmp_path / "case.pem"))
    assert xm("case", "key", "new").status == 0
    return lambda *arguments: xm("case", *arguments)


def test_letter_appeal_and_ruling(ask: Xm, tmp_path: Path) -> None:
    found = ask("letter", KEY, "--json")
    letter = json.loads(found.out)["letter"]
    reference = letter["reference"]
    assert ask("letter", KEY).out.startswith(f"Reference: {reference}\n")
    assert "0 appeals without a ruling, 0 overdue." in ask("appeals").out
    appeal = ask("appeal", reference, "--text", "Our own tests.", "--who", "bo")
    assert f"xm case overturn {reference} --why" in appeal.out
    assert "1 appeal without a ruling, 0 overdue." in ask("appeals").out
    ruling = ask("overturn", reference, "--why", "INC-7", "--who", "ann")
    assert "1 alert withdrawn. Nothing of it is enforced." in ruling.out
    assert f"Tell the customer, and quote {reference}." in ruling.out
    assert "is upheld" in ask("uphold", KEY, "--why", "INC-8", "--who", "ann").out
    assert all(len(line) < 100 for line in (appeal.out + ruling.out).splitlines())


def test_letter_is_written_to_a_file_in_its_format(ask: Xm, tmp_path: Path) -> None:
    page = tmp_path / "letter.html"
    assert f"written to {page}" in ask("letter", KEY, "--out", page).out
    assert page.read_text().startswith("<!DOCTYPE html>")
    other = ask("letter", KEY, "--out", tmp_path / "letter.md")
    assert (other.status, "add --again" in other.error) == (2, True)
    assert ask("letter", KEY, "--out", tmp_path / "letter.md", "--again").status == 0
    assert "no format of a letter" in ask("letter", KEY, "--out", tmp_path / "letter.doc").error


def test_wrong_days_and_references_are_named(ask: Xm) -> None:
    reference = json.loads(ask("letter", KEY, "--json").out)["letter"]["reference"]
    wrong = ask("appeal", reference, "--text", "No.", "--received", "yesterday")
    assert (wrong.status, "write it as 2026-11-28" in wrong.error) == (2, True)
    assert "There is no case R-1" in ask("uphold", "R-1", "--why", "x").error
