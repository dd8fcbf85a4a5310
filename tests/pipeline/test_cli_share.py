"""The commands of sharing, run in a shell."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from monitor import config
from monitor.evidence.entries import Exported, Ruled
from monitor.store.control import ControlStore
from monitor.store.indicators import IndicatorStore
from pipelines.cases.access import case_store
from pipelines.sharing.exchange import Exchange
from pipelines.sharing.formats import misp, stix
from tests.support import campaigns, sharing
from tests.support.commands import Xm
from tests.support.sharing import NOW, PARTNER, PARTNER_ID, shared_campaign


@pytest.fixture
def here(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of the Redis of a deployment with the campaign `c_fleet`; time stands still."""
    settings = sharing.settings(redis_url, tmp_path, "Here Inc")
    sharing.save_campaign(settings)
    monkeypatch.setattr("time.time", lambda: NOW)
    monkeypatch.setenv("XM_REDIS_URL", redis_url)
    monkeypatch.setenv("XM_SHARING__NAME", "Here Inc")
    monkeypatch.setenv("XM_SHARING__SALT_FILE", str(tmp_path / "salt"))
    return redis_url


@pytest.fixture
def partner_file(here: str, tmp_path: Path) -> Path:
    salt = sharing.salt_id(sharing.settings(here, tmp_path, "Here Inc"))
    file = tmp_path / "partner.json"
    file.write_bytes(stix.bundle(stix.campaign_objects(shared_campaign(salt), PARTNER)))
    return file


def test_export_writes_a_file_and_audits(here: str, xm: Xm, tmp_path: Path) -> None:
    out = tmp_path / "fleet.json"
    ended = xm("share", "export", "c_fl", "--to", out, "--who", "ada", "--why", "INC-7")
    assert (ended.status, ended.error) == (0, "")
    assert "under TLP:AMBER" in ended.out
    assert "1 system prompt, 1 prompt template" in ended.out
    assert json.loads(out.read_text())["type"] == "bundle"
    (change,) = ControlStore(here).audit()
    assert (change.what, change.who, change.why, change.subject) == (
        "share", "ada", "INC-7", "c_fleet",
    )  # fmt: skip


def test_export_as_misp(here: str, xm: Xm, tmp_path: Path) -> None:
    out = tmp_path / "fleet.json"
    xm("share", "export", "c_fleet", "--to", out, "--format", "misp", "--tlp", "green")
    event = json.loads(out.read_text())["Event"]
    assert [each["name"] for each in event["Object"]] == [misp.OBJECT] * 2
    assert event["Tag"] == [{"name": "tlp:green"}]


def test_import_lists_and_drops(here: str, xm: Xm, partner_file: Path) -> None:
    assert xm("share", "import", partner_file).out.startswith("4 indicators added")
    listed = xm("share", "list").out
    assert PARTNER in listed
    assert "1 network, 1 system prompt, 1 prompt template, 1 TLS fingerprint" in listed
    first = IndicatorStore(here).all(NOW)[0].id.removeprefix("indicator--")
    assert xm("share", "drop", first, "--why", "wrong").out == "1 indicator dropped.\n"
    assert xm("share", "drop", "file", "--why", "wrong").out == "3 indicators dropped.\n"
    assert [each.what for each in ControlStore(here).audit()] == ["import", "drop", "drop"]


def test_list_names_withdrawn_campaigns_that_partners_still_have(
    here: str, xm: Xm, tmp_path: Path
) -> None:
    xm("share", "export", "c_fleet", "--to", tmp_path / "x.json")
    ControlStore(here).withdraw("a_1", "c_fleet", "campaign", "critical", "ada", "class")
    assert "xm share revoke c_fleet" in xm("share", "list").out
    xm("share", "revoke", "c_fleet", "--to", tmp_path / "x.json", "--why", "class")
    assert "taken back" in xm("share", "list").out


def test_list_names_where_a_campaign_was_not_taken_back(here: str, xm: Xm, tmp_path: Path) -> None:
    for name in ("one", "two"):
        xm("share", "export", "c_fleet", "--to", tmp_path / name)
    xm("share", "revoke", "c_fleet", "--to", tmp_path / "one", "--why", "class")
    listed = xm("share", "list").out
    assert f"{tmp_path / 'one'}: taken back" in listed
    assert f"{tmp_path / 'two'}: shared" in listed
    assert "Some partners still have it" in listed
    xm("share", "revoke", "c_fleet", "--to", tmp_path / "two", "--why", "class")
    assert "still have it" not in xm("share", "list").out


def test_output_fits_80_columns(
    here: str, xm: Xm, partner_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    xm("share", "export", "c_fleet", "--to", "x.json")
    xm("share", "import", partner_file)
    lines = xm("share", "list").out.splitlines()
    assert max(map(len, lines)) <= 80, max(lines, key=len)


def test_json_output_has_everything(here: str, xm: Xm, partner_file: Path, tmp_path: Path) -> None:
    xm("share", "export", "c_fleet", "--to", tmp_path / "x.json")
    xm("share", "import", partner_file)
    found = json.loads(xm("share", "list", "--json").out)
    assert found["exported"][0]["hashes"] == 2
    assert found["sources"][0]["kinds"] == {"network": 1, "system": 1, "template": 1, "tls": 1}


def test_errors_are_one_sentence_with_the_fix(here: str, xm: Xm, tmp_path: Path) -> None:
    cases = {
        ("export", "c_0", "--to", "x.json"): "`xm campaigns --all`",
        ("export", "c_fleet", "--to", str(tmp_path / "no" / "x.json")): "name another file",
        ("export", "c_fleet", "--to", "taxii"): "XM_SHARING__TAXII_URL",
        ("export", "c_fleet", "--to", "misp"): "XM_SHARING__MISP_URL",
        ("revoke", "c_fleet", "--to", "x.json", "--why", "y"): "`xm share list`",
        ("import", str(tmp_path / "none.json")): "cannot be read",
        ("poll",): "XM_SHARING__TAXII_URL",
        ("poll", "--every", "soon"): "not a duration",
    }
    for arguments, why in cases.items():
        ended = xm("share", *arguments)
        assert (ended.status, ended.error.count("\n")) == (2, 1), arguments
        assert why in ended.error


def test_poll_goes_on_while_the_server_is_away(
    here: str, xm: Xm, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.cli.cases.share.time.sleep", sleep)
    url = "http://127.0.0.1:9/root/collections/x/"
    ended = xm("share", "poll", "--every", "15m", XM_SHARING__TAXII_URL=url)
    assert (ended.status, pauses) == (130, [900.0, 900.0])
    assert ended.error.count("cannot be reached") == 2


class Misp(BaseHTTPRequestHandler):
    """The part of MISP's API that sending an event uses. MISP itself is a PHP application."""

    events: ClassVar[dict[str, Any]] = {}

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null")

    def _serve(self) -> None:
        parts = self.path.strip("/").split("/")
        if self.headers.get("Authorization") != "the right key":
            self._answer(403, {"name": "Authentication failed.", "message": "no", "url": "/"})
        elif parts[0] == "servers":
            self._answer(200, {"version": "2.5.34", "perm_sync": True})
        elif parts[0] == "users" or parts[0] == "roles":
            self._answer(200, {"User": {"id": "1"}, "Role": {"id": "1"}, "UserSetting": {}})
        elif self.command in ("HEAD", "GET"):
            event = self.events.get(parts[-1])
            self._answer(200 if event else 404, {"Event": event} if event else {})
        else:
            event = self._body()
            event = event.get("Event", event)
            self.events[event["uuid"]] = event
            self._answer(200, {"Event": event})

    do_GET = do_POST = do_HEAD = do_PUT = _serve  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def misp_url() -> Iterator[str]:
    Misp.events.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Misp) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_export_to_misp_adds_then_updates(here: str, xm: Xm, misp_url: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("the right key")
    settings = {"XM_SHARING__MISP_URL": misp_url, "XM_SHARING__MISP_KEY_FILE": str(key)}
    for _ in range(2):
        ended = xm("share", "export", "c_fleet", "--to", "misp", "--tlp", "green", **settings)
        assert (ended.status, ended.error) == (0, "")
    (event,) = Misp.events.values()
    reading = misp.read_events({"Event": event}, "misp")
    assert {each.kind for each in reading.indicators} == {"system", "template"}
    assert not any(secret in json.dumps(event) for secret in (*campaigns.FLEET, "c_fleet"))


def test_misp_that_refuses_the_key_is_named_without_it(
    here: str, xm: Xm, misp_url: str, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("the wrong key")
    settings = {"XM_SHARING__MISP_URL": misp_url, "XM_SHARING__MISP_KEY_FILE": str(key)}
    ended = xm("share", "export", "c_fleet", "--to", "misp", **settings)
    assert (ended.status, ended.error.count("\n")) == (2, 1)
    assert "does not accept the event" in ended.error
    assert "the wrong key" not in ended.error
    assert Exchange(sharing.settings(here, tmp_path, "Here Inc")).state.exported() == {}


@pytest.fixture
def case(here: str, xm: Xm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of an open case about the campaign."""
    monkeypatch.setenv("XM_CASES__KEY_FILE", str(tmp_path / "case.pem"))
    assert xm("case", "key", "new").status == 0
    return case_store(config.load()).open_case("c_fleet", "campaign", "seen", "ada")


def test_export_of_a_case_is_an_entry_of_it(case: str, xm: Xm, tmp_path: Path) -> None:
    out = tmp_path / "x.json"
    ended = xm("share", "export", case, "--to", out, "--who", "ada", "--why", "partner asked")
    assert (ended.status, ended.error) == (0, "")
    entry = case_store(config.load()).entries(case)[-1]
    assert isinstance(entry.body, Exported)
    assert entry.body.manifest == hashlib.sha256(out.read_bytes()).hexdigest()
    assert entry.body.reason == f"shared under TLP:AMBER with {out}: partner asked"


def test_overturned_case_is_not_exported(case: str, xm: Xm, tmp_path: Path) -> None:
    store = case_store(config.load())
    store.append(case, Ruled("overturned", "a class of students"), "ada")
    ended = xm("share", "export", case, "--to", tmp_path / "x.json")
    assert (ended.status, ended.error.count("\n")) == (2, 1)
    assert "overturned" in ended.error


def test_case_about_a_key_is_not_exported(case: str, xm: Xm, tmp_path: Path) -> None:
    key = f"k_{1:024x}"
    other = case_store(config.load()).open_case(key, "api_key", "seen", "ada")
    assert "only campaigns" in xm("share", "export", other, "--to", tmp_path / "x").error


def test_partners_own_identity_is_printed(here: str, xm: Xm) -> None:
    assert stix.identity_id("Here Inc") in xm("share", "list").out
    assert PARTNER_ID not in xm("share", "list").out
