"""`xm case reproduce`, run in a shell, on recorded requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from monitor.config import Settings
from monitor.evidence.bundle.files import write_bundle
from monitor.evidence.entries import FactsTaken
from monitor.evidence.facts import Facts
from monitor.evidence.store import CaseStore
from monitor.identity import Identity
from monitor.requests.decoder import Decoder
from pipelines.cases.facts.versions import versions
from pipelines.cases.reproduction.replays import replay_files
from pipelines.traffic.recording import Recording
from tests.support.cases import RING, SIGNER, case_store
from tests.support.commands import Ended, Xm
from tests.support.requests import elicitor, in_order, person

SECRET = "known to this test only"


class Recorded(NamedTuple):
    """A recording, the facts about a key in it, and the store of cases.

    Attributes:
        keys: file of the public keys.
    """

    file: Path
    facts: Facts
    store: CaseStore
    keys: Path


@pytest.fixture(scope="module")
def recorded_facts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Facts]:
    file = tmp_path_factory.mktemp("recorded") / "requests.jsonl"
    file.write_bytes(b"\n".join(in_order(elicitor(), person("sk-person"), person("sk-other"))))
    identity, settings = Identity(SECRET.encode()), Settings()
    subject = identity.key("sk-cot")
    none = Facts(subject, "api_key", 0.0, None, "", 0, 0, 0.0, 0.0, versions(settings))

    def run(recording: Recording) -> Facts:
        return replay_files(none, settings, identity, recording).facts

    return file, Recording([str(file)], Decoder.of(settings)).run(run)


@pytest.fixture
def recorded(
    recorded_facts: tuple[Path, Facts],
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Recorded:
    file, facts = recorded_facts
    keys = tmp_path / "keys.json"
    keys.write_bytes(RING.encode())
    monkeypatch.setenv("XM_REDIS_URL", redis_url)
    monkeypatch.setenv("XM_IDENTITY_SECRET", SECRET)
    return Recorded(
        file, msgspec.structs.replace(facts, complete=True), case_store(redis_url), keys
    )


def _case(recorded: Recorded, facts: Facts) -> str:
    """The id of a case with these facts."""
    case = recorded.store.open_case(facts.subject, "api_key", "a test", "analyst")
    recorded.store.append(case, FactsTaken(facts), "monitor")
    return case


def _reproduce(xm: Xm, recorded: Recorded, what: object, *options: object) -> Ended:
    options = ("--files", recorded.file, "--key", recorded.keys, *options)
    return xm("case", "reproduce", what, *options)


def test_replay_gives_the_facts_of_the_case(recorded: Recorded, xm: Xm) -> None:
    assert recorded.facts.severity == "critical"
    ended = _reproduce(xm, recorded, _case(recorded, recorded.facts))
    assert (ended.status, ended.error) == (0, "")
    assert ended.out.startswith("The replay gives the facts of the case: ")
    assert all(len(line) <= 140 for line in ended.out.splitlines()[1:12])


def test_other_numbers_in_the_case_are_named(recorded: Recorded, xm: Xm) -> None:
    changed = msgspec.structs.replace(recorded.facts, requests=recorded.facts.requests + 1)
    ended = _reproduce(xm, recorded, _case(recorded, changed))
    assert ended.status == 1
    assert ended.out.startswith("1 of ")
    assert "totals, requests: 41 in the case, 40 in the replay" in ended.out


def test_other_versions_are_no_difference(recorded: Recorded, xm: Xm) -> None:
    older = msgspec.structs.replace(recorded.facts.versions, reference="0123456789abcdef")
    changed = msgspec.structs.replace(recorded.facts, versions=older, requests=1)
    ended = _reproduce(xm, recorded, _case(recorded, changed), "--json")
    rows = {(row["group"], row["name"]): row for row in json.loads(ended.out)["comparison"]["rows"]}
    assert ended.status == 0
    assert rows["totals", "requests"]["result"] == "unknown"
    assert rows["totals", "requests"]["why"] == "another version: reference"


def test_settings_of_the_case_are_used(
    recorded: Recorded, xm: Xm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XM_DETECTION__CRITICAL", "1e-300")
    assert _reproduce(xm, recorded, _case(recorded, recorded.facts)).status == 0


def test_bundle_is_reproduced_unless_it_was_changed(
    recorded: Recorded, xm: Xm, tmp_path: Path
) -> None:
    case, bundle = _case(recorded, recorded.facts), tmp_path / "case.zip"
    write_bundle(bundle, {"case.html": b"-"}, recorded.store.lines(case), SIGNER, RING)
    assert _reproduce(xm, recorded, bundle).status == 0
    bundle.write_bytes(bundle.read_bytes().replace(b"-", b"+", 1))
    ended = _reproduce(xm, recorded, bundle)
    assert (ended.status, ended.out) == (2, "")
    assert "was changed: `xm case verify" in ended.error


def test_errors_name_the_fix(recorded: Recorded, xm: Xm, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = recorded.store.open_case("k_other", "api_key", "a test", "analyst")
    assert "The case has no facts yet" in _reproduce(xm, recorded, empty).error
    case = _case(recorded, recorded.facts)
    assert "These entries have some: 2." in _reproduce(xm, recorded, case, "--entry", 1).error
    without = xm("case", "reproduce", case, "--key", recorded.keys)
    assert "names no offsets: reproduce it from files with --files" in without.error
    monkeypatch.setenv("XM_IDENTITY_SECRET", "of another deployment")
    assert "set XM_IDENTITY_SECRET to the secret" in _reproduce(xm, recorded, case).error
