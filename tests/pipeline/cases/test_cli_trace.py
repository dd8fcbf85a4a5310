"""`xm trace` and `xm marks`, run in a shell."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from monitor import config
from monitor.alerting.decisions import mark_of
from monitor.evidence.entries import AlertSeen, Traced
from monitor.evidence.keys import new_key
from monitor.identity import Identity
from monitor.store.alert_book import AlertBook, Entry
from monitor.store.control import ControlStore
from monitor.tracing.choices import Canary, answer_of
from monitor.tracing.marks import mark_key
from monitor.tracing.watermark import Watermark
from pipelines.cases.access import case_store
from tests.support.cases import CAMPAIGN, campaign_alert, key_alert
from tests.support.commands import Xm

SECRET = "known to this test only"
MARKING = Identity(SECRET.encode()).derive("marks", 32)
KEY = f"k_{7:024x}"
WORDS = 400
CANARIES = [Canary(f"c{i}", [f"Question {i}?"], ["Ash", "Bo", "Cy", "Di"]) for i in range(12)]


@pytest.fixture(autouse=True)
def issued(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A campaign with a case, and a key with an alert; the id of the case."""
    monkeypatch.setenv("XM_REDIS_URL", redis_url)
    monkeypatch.setenv("XM_IDENTITY_SECRET", SECRET)
    monkeypatch.setenv("XM_CASES__KEY_FILE", str(tmp_path / "case.pem"))
    settings = config.load()
    new_key(settings.cases)
    cases = case_store(settings)
    case = cases.open_case(CAMPAIGN, "campaign", "test", "ann")
    cases.append(case, AlertSeen(campaign_alert()), "monitor")
    AlertBook(redis_url).write([Entry(key_alert(KEY), 0, time.time(), time.time())])
    return case


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    found = Tokenizer(WordLevel({f"w{i}": i for i in range(WORDS)} | {"?": WORDS}, unk_token="?"))
    found.pre_tokenizer = Whitespace()
    file = tmp_path / "tokenizer.json"
    found.save(str(file))
    return file


def outputs(file: Path, mark: str | None, number: int = 40, seed: int = 0) -> Path:
    """Outputs that prefer the tokens of a mark, as JSON lines."""
    random, tokens = np.random.default_rng(seed), np.arange(WORDS)
    chances = 1.0 / (1.0 + random.permutation(WORDS))
    if mark is not None:
        chances *= np.exp(2.0 * Watermark.of(MARKING, mark, "fixed", 0.5).list_after(0, tokens))
    drawn = random.choice(tokens, (number, 60), p=chances / chances.sum())
    lines = [{"output": " ".join(f"w{i}" for i in row)} for row in drawn.tolist()]
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


def test_marks_list_names_campaign_key_and_case(xm: Xm, issued: str):
    ControlStore(config.load().redis_url).decide("k_" + 24 * "9", "mark", 60.0, "ann", "x")
    listed = {each["subject"]: each for each in json.loads(xm("marks", "list", "--json").out)}
    assert listed[CAMPAIGN]["mark"] == mark_of(CAMPAIGN)
    assert listed[CAMPAIGN]["cases"] == [issued]
    assert listed[KEY]["mark"] == "m_" + KEY[2:]
    assert listed["k_" + 24 * "9"]["mark"] == mark_of("k_" + 24 * "9")
    assert mark_of(CAMPAIGN) in xm("marks", "list").out


def test_marks_secret_is_for_its_owner_only(xm: Xm, tmp_path: Path):
    file = tmp_path / "marking"
    assert xm("marks", "secret", "--out", file).status == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().strip() == MARKING.hex()
    assert SECRET not in file.read_text()
    assert xm("marks", "secret", "--out", file).status == 2
    wrong = tmp_path / "wrong"
    wrong.write_text("abc")
    refused = xm("marks", "secret", "--out", tmp_path / "x", XM_TRACING__SECRET_FILE=str(wrong))
    assert (refused.status, "no marking secret" in refused.error) == (2, True)


def test_trace_finds_campaign_and_records_it(xm: Xm, issued: str, tokenizer: Path, tmp_path: Path):
    file = outputs(tmp_path / "suspect.jsonl", mark_of(CAMPAIGN))
    usual = outputs(tmp_path / "usual.jsonl", None)
    picture = tmp_path / "trace.png"
    options = ("--tokenizer", tokenizer, "--ordinary", usual, "--picture", picture, "--record")
    found = json.loads(xm("trace", file, *options, "--mark", "m_0a", "--json").out)
    assert (found["claimed"], found["traces"][0]["subject"]) == (1, CAMPAIGN)
    assert len(found["traces"]) == 3
    assert picture.read_bytes().startswith(b"\x89PNG")
    body = case_store(config.load()).case(issued).entries[-1].body
    assert isinstance(body, Traced)
    assert body.result["mark"] == mark_of(CAMPAIGN)
    assert (body.result["found"], body.model) == (True, "suspect")
    shown = xm("trace", file, "--tokenizer", tokenizer)
    assert f"show the mark {mark_of(CAMPAIGN)}" in shown.out.replace("\n", " ")


def test_trace_of_unmarked_outputs_claims_nothing(xm: Xm, tokenizer: Path, tmp_path: Path):
    file = outputs(tmp_path / "plain.jsonl", None)
    shown = xm("trace", file, "--tokenizer", tokenizer)
    assert "No mark was found in the outputs of plain." in shown.out


def test_trace_finds_canaries_without_tokenizer(xm: Xm, tmp_path: Path):
    key = mark_key(MARKING, mark_of(CAMPAIGN), "mark canaries")
    canaries, file = tmp_path / "canaries.toml", tmp_path / "suspect.jsonl"
    canaries.write_text(
        "".join(
            f"[[canary]]\nname='{c.name}'\nask={c.ask}\nanswers={c.answers}\n" for c in CANARIES
        )
    )
    lines = [{"prompt": c.ask[0], "output": f"I like {answer_of(c, key)}."} for c in CANARIES]
    file.write_text("\n".join(map(json.dumps, lines)))
    asked = {"XM_TRACING__CANARIES_FILE": str(canaries)}
    found = json.loads(xm("trace", file, "--json", **asked).out)
    assert (found["claimed"], found["traces"][0]["subject"]) == (1, CAMPAIGN)
    printed = xm("marks", "canaries", mark_of(CAMPAIGN), **asked).out
    assert all(f"{c.ask[0]}”: {answer_of(c, key)}" in printed for c in CANARIES)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no outputs"),
        ('{"output": 1}', "Line 1"),
        ("\xff{", "Line 1"),
        (None, "Cannot read"),
    ],
)
def test_trace_names_what_is_wrong_with_the_file(xm: Xm, tmp_path: Path, text, reason):
    file = tmp_path / "suspect.jsonl"
    if text is not None:
        file.write_text(text)
    ended = xm("trace", file)
    assert (ended.status, reason in ended.error) == (2, True)


def test_trace_names_wrong_tokenizer_and_mark(xm: Xm, tmp_path: Path):
    file = outputs(tmp_path / "plain.jsonl", None, number=1)
    assert "is not a tokenizer.json" in xm("trace", file, "--tokenizer", file).error
    assert "is not a mark id" in xm("trace", file, "--mark", "acme").error
    assert "XM_TRACING__CANARIES_FILE" in xm("marks", "canaries", "m_01").error
