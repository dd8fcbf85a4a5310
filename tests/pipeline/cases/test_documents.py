"""`xm case export` and `xm report`, as a shell runs them."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitor.alerting.decisions import Decision
from monitor.config import Cases, Settings
from monitor.evidence.bundle.files import contents
from monitor.evidence.bundle.verify import verify_bundle
from monitor.evidence.entries import Exported, FactsTaken, Opened
from monitor.evidence.keys import load_signer, new_key, ring_of
from monitor.evidence.store import CASE_KEY, CaseStore
from monitor.store.base import Checkpoint
from monitor.store.control import ControlStore
from monitor.store.redis import RedisStore
from pipelines.cases.collect import Collector
from tests.pipeline.cases.test_collect import NoKafka
from tests.support import campaigns, case_entries
from tests.support.commands import Ended, Xm

BY = ("--who", "ann", "--why", "For counsel.")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(cases=Cases(key_file=tmp_path / "case.pem"))
    new_key(settings.cases)
    return settings


@pytest.fixture
def store(settings: Settings, redis_url: str) -> CaseStore:
    assert settings.cases.key_file is not None
    return CaseStore(redis_url, ring_of(settings), load_signer(settings.cases.key_file))


@pytest.fixture
def case(store: CaseStore) -> str:
    (first, _), *others = case_entries.whole_case(3)
    assert isinstance(first.body, Opened)
    opened = first.body
    case = store.open_case(
        opened.subject, opened.type, opened.reason, "monitor", alert=opened.alert
    )
    for entry, _ in others:
        store.append(case, entry.body, entry.who)
    return case


@pytest.fixture
def run(xm: Xm, redis_url: str, settings: Settings) -> Xm:
    def run(*arguments: object, **variables: str) -> Ended:
        key = str(settings.cases.key_file)
        return xm(*arguments, XM_REDIS_URL=redis_url, **{"XM_CASES__KEY_FILE": key, **variables})

    return run


def test_export_writes_a_bundle_that_verifies_and_is_recorded(
    run: Xm, store: CaseStore, case: str, tmp_path: Path, redis_url: str
) -> None:
    lines, out = store.lines(case), tmp_path / "new" / "case.bundle"
    ended = run("case", "export", case, "--out", out, *BY, "--json")
    assert ended.status == 0, ended.error
    done, bundle = json.loads(ended.out), out.read_bytes()
    report = verify_bundle(bundle, store.ring)
    assert report.ok, report.problems
    assert contents(bundle).chain == lines
    assert {"case.html", "case.pdf", "case.json", "graph.graphml", "graph.svg"} <= set(
        contents(bundle).files
    )
    last = store.entries(case)[-1]
    assert (last.body, last.who) == (Exported(done["manifest"], "For counsel."), "ann")
    assert next(iter(ControlStore(redis_url).audit())).subject == case


def test_incident_writes_the_formats_that_are_named(run: Xm, case: str, tmp_path: Path) -> None:
    ended = run("report", "incident", case[:9], "--out", tmp_path / "reports")
    assert ended.status == 0, ended.error
    written = sorted(file.name for file in (tmp_path / "reports").iterdir())
    assert written == [f"incident-{case}.{each}" for each in ("html", "md", "pdf")]
    assert run("report", "incident", case, "--out", tmp_path / "one.md").status == 0
    assert (tmp_path / "one.md").read_text() == (
        tmp_path / "reports" / f"incident-{case}.md"
    ).read_text()


@pytest.mark.parametrize(
    "command", [("case", "export", *BY), ("report", "incident")], ids=["export", "report"]
)
def test_changed_case_gives_no_document(
    run: Xm, store: CaseStore, case: str, tmp_path: Path, command: tuple[str, ...]
) -> None:
    name = f"{CASE_KEY}{{{case}}}"
    lines = store.lines(case)
    changed = lines[3].replace(b'"payload":"', b'"payload":"A', 1)
    assert changed != lines[3]
    store.server.run(lambda: _set(store, name, changed))
    ended = run(*command, case, "--out", tmp_path / "out.pdf")
    assert ended.status == 2
    assert f"xm case verify {case}" in " ".join(ended.error.split())
    assert not (tmp_path / "out.pdf").exists()


def _set(store: CaseStore, name: str, line: bytes) -> None:
    from monitor.store.connection import execute

    with store.server.connection(name) as connection:
        execute(connection, [("LSET", name, 3, line)])


def test_wrong_arguments_are_explained(run: Xm, case: str, tmp_path: Path) -> None:
    ended = run("report", "incident", case, "--out", tmp_path / "report.docx")
    assert (ended.status, "unknown format" in ended.error) == (2, True)
    ended = run("case", "export", "case_nothing", "--out", tmp_path / "x", *BY)
    assert (ended.status, "There is no case case_nothing" in ended.error) == (2, True)
    (tmp_path / "file").touch()
    ended = run("report", "incident", case, "--out", tmp_path / "file" / "report.md")
    assert (ended.status, "Cannot make the folder" in ended.error) == (2, True)


def test_export_without_a_key_says_how_to_make_one(xm: Xm, redis_url: str, tmp_path: Path) -> None:
    ended = xm("case", "export", "case_1", "--out", tmp_path / "x", *BY, XM_REDIS_URL=redis_url)
    assert (ended.status, "xm case key new" in ended.error) == (2, True)


def test_missing_extra_is_named(run: Xm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.cli.cases.group.find_spec", lambda name: None)
    ended = run("report", "incident", "case_1", "--out", tmp_path / "x.pdf")
    assert (ended.status, "extraction-monitor[cases]" in ended.error) == (2, True)


def test_report_states_what_was_collected_from_redis(
    run: Xm, store: CaseStore, tmp_path: Path, redis_url: str
) -> None:
    campaigns.save(RedisStore(redis_url, 100), campaigns.partition())
    facts = Collector(Settings(redis_url=redis_url), offsets=NoKafka()).collect("c_fleet")
    case = store.open_case("c_fleet", "campaign", "critical alert", "monitor", alert="a_1")
    store.append(case, FactsTaken(facts), "monitor")
    out = tmp_path / "report.md"
    assert run("report", "incident", "c_fleet", "--out", out).status == 0
    text = out.read_text()
    assert "12 API keys that acted together sent 720 requests with 72,000 tokens." in text
    assert "- Share of all traffic: **40%** \\[2\\]" in text
    assert "not known" not in text.partition("## What is not known")[0]


def test_transparency_counts_the_cases_of_the_days(run: Xm, case: str, tmp_path: Path) -> None:
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    days = ("--from", "2026-01-01", "--to", today)
    ended = run("report", "transparency", *days, "--out", tmp_path / "q1")
    assert ended.status == 0, ended.error
    text = (tmp_path / "q1" / "transparency.md").read_text()
    assert f"2026-01-01 to {today}, days in UTC." in text
    assert case not in text
    assert (tmp_path / "q1" / "transparency.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("days", "message"),
    [(("2026-13-01", "2026-03-31"), "is not a day"), (("2026-03-31", "2026-01-01"), "is before")],
)
def test_transparency_rejects_wrong_days(
    run: Xm, tmp_path: Path, days: tuple[str, str], message: str
) -> None:
    first, last = days
    ended = run("report", "transparency", "--from", first, "--to", last, "--out", tmp_path / "x")
    assert (ended.status, message in ended.error) == (2, True)


def quick_case(store: CaseStore, redis_url: str) -> str:
    """A case as the monitor records it live, of a campaign that Redis knows."""
    campaigns.save(RedisStore(redis_url, 100), campaigns.partition())
    collector = Collector(Settings(redis_url=redis_url), offsets=NoKafka())
    case = store.open_case("c_fleet", "campaign", "critical alert", "monitor", alert="a_1")
    store.append(case, FactsTaken(collector.collect("c_fleet", quick=True)), "monitor")
    return case


def test_facts_of_a_live_recording_are_completed_once(
    run: Xm, store: CaseStore, tmp_path: Path, redis_url: str
) -> None:
    case = quick_case(store, redis_url)
    for _ in range(2):
        ended = run("report", "incident", case, "--out", tmp_path / "report.md", "--who", "ann")
        assert ended.status == 0, ended.error
    (taken,) = [each.body for each in store.entries(case) if each.who == "ann"]
    assert isinstance(taken, FactsTaken)
    assert taken.facts.shared
    assert "Share of all traffic: **40%** \\[3\\]" in (tmp_path / "report.md").read_text()


def test_subject_that_redis_lost_leaves_the_case_as_it_is(
    run: Xm, store: CaseStore, tmp_path: Path
) -> None:
    case = store.open_case("c_gone", "campaign", "critical alert", "monitor", alert="a_1")
    assert run("report", "incident", case, "--out", tmp_path / "report.md").status == 0
    assert len(store.entries(case)) == 1


@pytest.mark.parametrize(
    ("shadow", "row"),
    [
        (True, "| refuse requests | watch, without any restriction | recorded only: shadow mode |"),
        (False, "| refuse requests | refuse requests | as the monitor decided |"),
    ],
)
def test_report_says_what_was_in_force_when_it_was_written(
    run: Xm, case: str, tmp_path: Path, redis_url: str, shadow: bool, row: str
) -> None:
    redis = RedisStore(redis_url, 100)
    keys = [case_entries.key(number) for number in range(3)]
    blocks = [Decision(key, "block", "a_1", time.time(), 600.0, kind="campaign") for key in keys]
    redis.commit(Checkpoint(decisions=blocks))
    redis.publish_shadow(shadow)
    assert run("report", "incident", case, "--out", tmp_path / "report.md").status == 0
    text = (tmp_path / "report.md").read_text()
    assert "when this was written, this was in force: \\[0\\]" in text
    assert f"{row} 3 | \\[0\\] |" in text
    assert "not an entry of the case" in text
