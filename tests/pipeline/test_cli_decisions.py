"""`xm decisions` and `xm audit`, as a shell runs them."""

from __future__ import annotations

import hashlib
import io
import json
import sys

import pytest

from monitor.alerting.decisions import Decision
from monitor.identity import Identity
from monitor.store.base import Checkpoint
from monitor.store.redis import RedisStore
from pipelines.demo.embedded import free_port
from tests.support.commands import Ended, Xm

SECRET = "known to this test only"
KEY, OTHER = "k_" + "1" * 24, "k_" + "2" * 24
BY = ("--who", "ann", "--why", "INC-7")
CHANGES: list[tuple[object, ...]] = [
    ("add", KEY, "--action", "block", "--for", "4h"),
    ("delete", KEY),
    ("allow", KEY, "--owner", "sales", "--for", "30d"),
    ("deny", KEY),
    ("shadow", "off", "--yes"),
    ("kill",),
    ("caps", "off", "--for", "2h", "--yes"),
]


@pytest.fixture
def store(redis_url: str) -> RedisStore:
    store = RedisStore(redis_url, 100)
    block = Decision(KEY, "block", "a_1", 0.0, 600.0, kind="elicitation")
    throttle = Decision(OTHER, "throttle", "a_2", 0.0, 600.0, kind="burst")
    store.commit(Checkpoint(decisions=[block, throttle]))
    return store


@pytest.fixture
def run(xm: Xm, redis_url: str) -> Xm:
    def run(*arguments: object, **settings: object) -> Ended:
        return xm(*arguments, XM_REDIS_URL=redis_url, XM_IDENTITY_SECRET=SECRET, **settings)

    return run


def applied(run: Xm, key: str = KEY) -> tuple[str, str, str]:
    found = json.loads(run("decisions", "list", key, "--json").out)
    return found["action"], found["decided"], found["why"]


def test_list_shows_the_strongest_first_in_80_columns(run: Xm, store: RedisStore) -> None:
    store.publish_shadow(False)
    ended = run("decisions", COLUMNS="80")
    assert ended.status == 0
    lines = ended.out.splitlines()
    first, second = (
        next(i for i, line in enumerate(lines) if each in line) for each in (KEY, OTHER)
    )
    assert first < second
    assert "block" in lines[first]
    assert lines[first].endswith("enforced")
    assert "2 decisions, 2 enforced." in lines
    assert max(map(len, lines[2:])) <= 80


def test_list_ends_with_the_number_of_further_decisions(run: Xm, store: RedisStore) -> None:
    out = run("decisions", "list", "--top", 1).out
    assert KEY in out
    assert OTHER not in out
    assert "… and 1 more (--top)." in out


def test_shadow_is_what_workers_report_and_not_this_shell(run: Xm, store: RedisStore) -> None:
    assert "unknown" in run("decisions", XM_DECISIONS__SHADOW="true").out
    assert applied(run) == ("observe", "block", "unknown")
    store.publish_shadow(False)
    assert applied(run) == ("block", "block", "")


def test_shadow_switch_beats_the_setting(run: Xm, store: RedisStore) -> None:
    store.publish_shadow(True)
    assert applied(run) == ("observe", "block", "shadow")
    run("decisions", "shadow", "off", "--yes", *BY)
    assert applied(run) == ("block", "block", "")
    run("decisions", "shadow", "on", "--kind", "elicitation", *BY)
    assert applied(run) == ("observe", "block", "shadow")
    assert applied(run, OTHER) == ("throttle", "throttle", "")
    out = run("decisions").out
    assert "Shadow mode: off, decisions are enforced (ann at" in out
    assert "Shadow mode of elicitation: on (ann at" in out


def test_kill_switch_is_shown_first(run: Xm, store: RedisStore) -> None:
    store.publish_shadow(False)
    run("decisions", "kill", *BY)
    assert run("decisions").out.startswith("Kill switch ON: nothing is enforced (ann at")
    assert applied(run) == ("observe", "block", "kill")
    run("decisions", "kill", "off", "--yes", *BY)
    assert applied(run) == ("block", "block", "")


def test_add_replaces_what_detectors_decided(run: Xm, store: RedisStore) -> None:
    store.publish_shadow(False)
    run("decisions", "add", KEY, "--action", "throttle", "--rate", 5, "--for", "4h", *BY)
    assert applied(run) == ("throttle", "throttle", "operator")
    run("decisions", "add", KEY, "--action", "observe", "--for", "4h", *BY)
    assert applied(run) == ("observe", "observe", "operator")
    assert "lifted by a person" in run("decisions").out


def test_allowed_key_is_in_the_list_with_its_owner(run: Xm, store: RedisStore) -> None:
    store.publish_shadow(False)
    run("decisions", "allow", KEY, "--owner", "sales", "--for", "30d", *BY)
    assert applied(run) == ("observe", "block", "allowed")
    assert "sales: INC-7" in run("decisions").out


@pytest.mark.parametrize(
    ("raw", "name", "prefix"),
    [
        ("key", "sk-live-1", "k_"),
        ("account", "acme", "a_"),
        ("payment", "visa-1", "p_"),
        ("network", "203.0.113.9", "n_"),
    ],
)
def test_raw_name_is_read_from_a_pipe_and_kept_nowhere(
    run: Xm, store: RedisStore, monkeypatch: pytest.MonkeyPatch, raw: str, name: str, prefix: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{name}\n"))
    ended = run(
        "decisions", "allow", "--raw", raw, "--owner", "sales", "--for", "1d", *BY, "--json"
    )
    assert json.loads(ended.out)["subject"].startswith(prefix)
    assert name not in ended.out + ended.error + run("audit", "--json").out


def test_raw_key_has_the_pseudonym_of_the_workers(
    run: Xm, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("sk-live-1\n"))
    arguments = ("--raw", "key", "--action", "block", "--for", "1h", *BY, "--json")
    ended = run("decisions", "add", *arguments)
    assert json.loads(ended.out)["subject"] == Identity(SECRET.encode()).key("sk-live-1")


def test_raw_key_is_found_where_the_log_holds_its_hash(
    run: Xm, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = Identity(SECRET.encode()).key(hashlib.sha256(b"sk-live-1").hexdigest())
    store.commit(Checkpoint(decisions=[Decision(hashed, "block", "a_1", 0.0, 600.0)]))
    monkeypatch.setattr(sys, "stdin", io.StringIO("sk-live-1\n"))
    arguments = ("--raw", "key", "--owner", "sales", "--for", "1d", *BY, "--json")
    assert json.loads(run("decisions", "allow", *arguments).out)["subject"] == hashed


@pytest.mark.parametrize(
    ("raw", "name", "words"),
    [("key", "", "No key was entered"), ("network", "my office", "is not an IP address")],
)
def test_raw_name_that_cannot_be_used_is_one_sentence(
    run: Xm, store: RedisStore, monkeypatch: pytest.MonkeyPatch, raw: str, name: str, words: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{name}\n"))
    ended = run("decisions", "allow", "--raw", raw, "--owner", "sales", "--for", "1d", *BY)
    assert (ended.status, ended.out) == (2, "")
    assert words in ended.error


def test_audit_names_every_change(run: Xm, store: RedisStore) -> None:
    for change in CHANGES:
        assert run("decisions", *change, *BY).status == 0, change
    found = json.loads(run("audit", "--json").out)
    assert [each["what"] for each in found] == [
        "decide", "delete", "allow", "disallow", "shadow", "kill", "caps",
    ]  # fmt: skip
    assert {(each["who"], each["why"]) for each in found} == {("ann", "INC-7")}
    out = run("audit", "--since", "1h").out
    assert out.count("ann: INC-7") == len(CHANGES)
    assert "block (elicitation) until" in out


@pytest.mark.parametrize("change", CHANGES)
def test_change_while_redis_is_away_is_one_sentence(xm: Xm, change: tuple[object, ...]) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    ended = xm("decisions", *change, *BY, XM_REDIS_URL=url)
    assert (ended.status, ended.out) == (2, "")
    assert "is away" in ended.error
    assert "start it, or correct XM_REDIS_URL" in ended.error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "sk-live-1", "--action", "block", "--for", "4h"), "is not a pseudonym"),
        (("add", KEY, "--action", "block", "--for", "forever"), "is not a duration"),
        (("add", KEY, "--action", "block", "--for", "900d"), "Choose 1 s to 366 days"),
        (("add", "--action", "block", "--for", "4h"), "Give a pseudonym"),
        (("delete", "k_" + "9" * 24), "There is no decision on"),
        (("deny", KEY), "is not on the allow-list"),
        (("shadow", "on", "--kind", "bursts"), "There is no kind"),
        (("list", "k_" + "9" * 24), "There is no decision on"),
    ],
)
def test_wrong_argument_is_one_sentence(
    run: Xm, store: RedisStore, arguments: tuple[str, ...], words: str
) -> None:
    by = () if arguments[0] == "list" else BY
    ended = run("decisions", *arguments, *by)
    assert (ended.status, ended.out) == (2, "")
    assert words in ended.error
    assert "sk-live" not in ended.error
